"""What must be remembered of Sparkplug nodes: births (names, aliases, types), sequence numbers, who is gone.

Only nodes and devices that someone asked for are remembered, each with its last birth alone.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

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


@dataclass(frozen=True, slots=True)
class Birth:
    """Names with their types, and aliases, of the last birth of a node or device."""

    types: dict[str, int | None] = field(default_factory=dict)
    aliases: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of one session of a node, told from others by its `bdseq`; births by `group/node[/device]`."""

    bdseq: int
    births: dict[str, Birth] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    seq: int | None = None
    bdseq: int | None = None
    births: dict[str, Birth] = field(default_factory=dict)


class Nodes:
    """The nodes behind `devices`, written `group/node` or `group/node/device`.

    `wants_birth` are nodes (`group/node`) of which something came that needs a birth to be understood. `changes` grows
    whenever `lives` become others.
    """

    def __init__(self, devices: Collection[str]) -> None:
        self._devices = frozenset(devices)
        self._nodes = {"/".join(device.split("/")[:2]): _Node() for device in devices}
        self.wants_birth = set(self._nodes)
        self.changes = 0

    def lives(self) -> dict[str, Life]:
        """What an agent that comes back may go on with, by `group/node`; nothing of nodes without a bdSeq."""
        return {
            name: Life(n.bdseq, dict(n.births)) for name, n in self._nodes.items() if n.bdseq is not None and n.births
        }

    def recall(self, lives: Mapping[str, Life]) -> None:
        """Go on with what was known; deaths and births that come are judged by it."""
        for name, life in lives.items():
            if name in self._nodes:
                births = {who: birth for who, birth in life.births.items() if who in self._devices}
                self._nodes[name] = _Node(None, life.bdseq, births)

    def forget(self) -> None:
        """Nothing is known any more: births may have passed while nobody listened."""
        self.changes += 1
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
            self._void(node)
            node.bdseq = _bdseq(payload)
            node.seq = payload.seq
            self.wants_birth.discard(name)
        else:
            self._follow(name, node, payload, decoded)
        if kind == "DDEATH":
            self.changes += node.births.pop(who, None) is not None
            decoded.dead = [who]
        elif who not in self._devices:
            decoded.undeclared = [who]
        else:
            if kind.endswith("BIRTH"):
                node.births[who] = _birth(payload)
                self.changes += 1
            self._read(name, who, node.births.get(who), payload, decoded)
        return decoded

    def _die(self, name: str, node: _Node, payload: Payload, decoded: Decoded) -> None:
        bdseq = _bdseq(payload)
        if None not in (bdseq, node.bdseq) and bdseq != node.bdseq:
            decoded.ignored.append(
                (name, "NDEATH", f"of an earlier life of the node (bdSeq {bdseq}, now {node.bdseq})")
            )
            return
        self._void(node)
        node.seq = None
        decoded.dead = [device for device in self._devices if device == name or device.startswith(f"{name}/")]

    def _void(self, node: _Node) -> None:
        node.births.clear()
        self.changes += 1

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
            self._void(node)
        node.seq = payload.seq

    def _read(self, name: str, who: str, birth: Birth | None, payload: Payload, decoded: Decoded) -> None:
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


def _name(metric: Metric, birth: Birth | None) -> str | None:
    if metric.name:
        return metric.name
    return birth.aliases.get(metric.alias) if birth and metric.alias is not None else None


def _found(who: str, name: str, metric: Metric, birth: Birth | None, payload: Payload) -> Found:
    t_ms = payload.t_ms if metric.t_ms is None else metric.t_ms
    base = Found(who, name, None, t_ms=t_ms, historical=bool(metric.historical))
    if metric.quality not in (None, QUALITY_GOOD):
        return replace(base, why=f"quality {metric.quality}")
    datatype = metric.datatype if metric.datatype is not None else birth.types.get(name) if birth else None
    number = as_number(metric, datatype)
    return replace(base, number=number, why="" if number is not None else "null")


def _birth(payload: Payload) -> Birth:
    named = [metric for metric in payload.metrics if metric.name]
    return Birth(
        {metric.name: metric.datatype for metric in named},
        {metric.alias: metric.name for metric in named if metric.alias is not None},
    )


def _bdseq(payload: Payload) -> int | None:
    raw = next((metric.raw for metric in payload.metrics if metric.name == BDSEQ), None)
    return None if raw is None else int(raw)
