"""What must be remembered of Sparkplug nodes: births (names, aliases, types), sequence numbers, who is gone.

Only nodes and devices that someone asked for are remembered, each with its last birth alone.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from decimal import Decimal

from plantprint_edge.payloads import Decoded, Found, Limits, PayloadError
from plantprint_edge.payloads.sparkplug import QUALITY_GOOD, Metric, Payload, as_number, parse_sparkplug

# A step ahead of up to so many numbers is lost messages; up to so many back, messages that came late; all else a new
# life of the node whose birth was not seen.
LOST_MAX = 32
LATE_MAX = 8
BDSEQ = "bdSeq"
# What ignored things are called that are no values.
SEQUENCE = "seq"
ALIAS = "alias"


@dataclass(slots=True)
class _Birth:
    """Names with their types, and aliases, of the last birth of a node or device."""

    types: dict[str, int | None] = field(default_factory=dict)
    aliases: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    seq: int | None = None
    bdseq: Decimal | None = None
    births: dict[str, _Birth] = field(default_factory=dict)


class Nodes:
    """The nodes behind `devices`, written `group/node` or `group/node/device`.

    `wants_birth` are nodes (`group/node`) of which something came that needs a birth to be understood.
    """

    def __init__(self, devices: Collection[str]) -> None:
        self._devices = frozenset(devices)
        self._nodes = {"/".join(device.split("/")[:2]): _Node() for device in devices}
        self.wants_birth = set(self._nodes)

    def forget(self) -> None:
        """Nothing is known any more: births may have passed while nobody listened."""
        self._nodes = {name: _Node() for name in self._nodes}
        self.wants_birth = set(self._nodes)

    def knows(self, group: str, node: str) -> bool:
        return f"{group}/{node}" in self._nodes

    def take(self, names: dict[str, str], body: bytes, limits: Limits) -> Decoded:
        """What a message on `spBv1.0/{group}/{message}/{node}[/{device}]` says; raises `PayloadError`."""
        name = f"{names['group']}/{names['node']}"
        who = f"{name}/{names['device']}" if "device" in names else name
        kind = names["message"]
        if kind not in (("DBIRTH", "DDATA", "DDEATH") if "device" in names else ("NBIRTH", "NDATA", "NDEATH")):
            return Decoded(ignored=[(who, kind, "no message of a node or device")])
        if not self.knows(names["group"], names["node"]):
            return Decoded(undeclared=[who])
        node, payload, decoded = self._nodes[name], parse_sparkplug(body, limits), Decoded()
        if kind == "NDEATH":
            self._die(name, node, payload, decoded)
            return decoded
        if kind == "NBIRTH":
            node.births.clear()
            node.bdseq = _bdseq(payload)
            node.seq = payload.seq
            self.wants_birth.discard(name)
        else:
            self._follow(name, node, payload, decoded)
        if kind == "DDEATH":
            node.births.pop(who, None)
            decoded.dead = [who]
        elif who not in self._devices:
            decoded.undeclared = [who]
        else:
            if kind.endswith("BIRTH"):
                node.births[who] = _birth(payload)
            self._read(name, who, node.births.get(who), payload, decoded)
        return decoded

    def _die(self, name: str, node: _Node, payload: Payload, decoded: Decoded) -> None:
        bdseq = _bdseq(payload)
        if None not in (bdseq, node.bdseq) and bdseq != node.bdseq:
            decoded.ignored.append(
                (name, "NDEATH", f"of an earlier life of the node (bdSeq {bdseq}, now {node.bdseq})")
            )
            return
        node.births.clear()
        node.seq = None
        decoded.dead = [device for device in self._devices if device == name or device.startswith(f"{name}/")]

    def _follow(self, name: str, node: _Node, payload: Payload, decoded: Decoded) -> None:
        """Compare the sequence number with the one that was due."""
        if payload.seq is None or node.seq is None:
            node.seq = payload.seq
            return
        ahead = (payload.seq - node.seq - 1) % 256
        if ahead >= 256 - LATE_MAX:
            if ahead != 255:
                decoded.ignored.append((name, SEQUENCE, f"out of order: {payload.seq} after {node.seq}"))
            return
        if ahead:
            decoded.ignored.append((name, SEQUENCE, f"sequence gap: {payload.seq} after {node.seq}"))
            self.wants_birth.add(name)
        if ahead > LOST_MAX:
            node.births.clear()
        node.seq = payload.seq

    def _read(self, name: str, who: str, birth: _Birth | None, payload: Payload, decoded: Decoded) -> None:
        for metric in payload.metrics:
            known = _name(metric, birth)
            if known is None:
                self.wants_birth.add(name)
                decoded.ignored.append((who, f"{ALIAS} {metric.alias}", "no birth was seen that names it"))
            elif known != BDSEQ:
                try:
                    decoded.found.append(_found(who, known, metric, birth, payload))
                except PayloadError as error:
                    decoded.ignored.append((who, known, str(error)))


def _name(metric: Metric, birth: _Birth | None) -> str | None:
    if metric.name:
        return metric.name
    return birth.aliases.get(metric.alias) if birth and metric.alias is not None else None


def _found(who: str, name: str, metric: Metric, birth: _Birth | None, payload: Payload) -> Found:
    t_ms = payload.t_ms if metric.t_ms is None else metric.t_ms
    base = Found(who, name, None, t_ms=t_ms, historical=bool(metric.historical))
    if metric.quality not in (None, QUALITY_GOOD):
        return replace(base, why=f"quality {metric.quality}")
    datatype = metric.datatype if metric.datatype is not None else birth.types.get(name) if birth else None
    number = as_number(metric, datatype)
    return replace(base, number=number, why="" if number is not None else "null")


def _birth(payload: Payload) -> _Birth:
    named = [metric for metric in payload.metrics if metric.name]
    return _Birth(
        {metric.name: metric.datatype for metric in named},
        {metric.alias: metric.name for metric in named if metric.alias is not None},
    )


def _bdseq(payload: Payload) -> Decimal | None:
    raw = next((metric.raw for metric in payload.metrics if metric.name == BDSEQ), None)
    return None if raw is None else Decimal(raw)
