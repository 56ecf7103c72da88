"""Production events as reduction needs them, kept small: the revision of each that counts, found by what it is about."""

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plantprint.event_fields import order, plain_text, rank
from plantprint.facts import EventKind, ProductionEvent

Key = str
"""An event's identity."""

NEEDED: Mapping[EventKind, tuple[str, ...]] = {
    "order": ("batch",),
    "job_start": ("job",),
    "job_end": ("job",),
    "shipment": ("shipment", "batch"),
    "state": ("work_unit", "state"),
    "withdraw": ("event_id",),
}
"""The fields without which an event says nothing."""

# Of events of other kinds no more is kept than which revision counts: they may be withdrawn too.
_KINDS: frozenset[EventKind] = frozenset({*NEEDED, "activity"})
_OF_OUTPUT = ("batch", "kind")
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode
_Put = Callable[[dict[Any, tuple[Any, ...]], Hashable, Key], None]


@dataclass(slots=True)
class Touched:
    """What other events than before are about; `states` are (work unit, instant), `shipments` (shipment, batch).

    `ordered` are batches of orders and outputs. `events` are single ones that say something by themselves: activities,
    withdrawals, and those that lack a field.
    `news` are the events that made it so.
    """

    jobs: set[str] = field(default_factory=set)
    ordered: set[str] = field(default_factory=set)
    shipments: set[tuple[str, str]] = field(default_factory=set)
    states: set[tuple[str, int]] = field(default_factory=set)
    events: set[Key] = field(default_factory=set)
    news: list[ProductionEvent] = field(default_factory=list)


class EventBook:
    """Events by identity; methods that give events give those that nothing withdraws, in order of time and identity."""

    def __init__(self) -> None:
        self._events: dict[Key, bytes] = {}
        self._jobs: dict[str, tuple[Key, ...]] = {}
        self._orders: dict[str, tuple[Key, ...]] = {}
        self._outputs: dict[str, tuple[Key, ...]] = {}
        self._shipments: dict[tuple[str, str], tuple[Key, ...]] = {}
        self._shipped: dict[str, tuple[str, ...]] = {}
        self._states: dict[str, dict[int, tuple[Key, ...]]] = {}
        self._instants: dict[str, list[int]] = {}
        self._withdrawals: dict[Key, tuple[Key, ...]] = {}
        self._single: set[Key] = set()

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: Iterable[ProductionEvent]) -> Touched:
        """Takes events that may be known already, in any order."""
        touched = Touched()
        for event in events:
            self._take(event, touched)
        return touched

    def everything(self) -> Touched:
        """All that there is, as if it were new; without the events themselves."""
        states = {(unit, at_ms) for unit, instants in self._instants.items() for at_ms in instants}
        ordered = self._orders.keys() | self._outputs.keys()
        return Touched(set(self._jobs), ordered, set(self._shipments), states, set(self._single))

    def of_job(self, job: str) -> list[ProductionEvent]:
        return self._valid(self._jobs.get(job, ()))

    def orders_of(self, batch: str) -> list[ProductionEvent]:
        return self._valid(self._orders.get(batch, ()))

    def outputs_of(self, batch: str) -> list[ProductionEvent]:
        """What says that something came out of a batch, without how much."""
        return self._valid(self._outputs.get(batch, ()))

    def of_shipment(self, shipment: tuple[str, str]) -> list[ProductionEvent]:
        return self._valid(self._shipments.get(shipment, ()))

    def shipments_of(self, batch: str) -> list[tuple[str, str]]:
        """The (shipment, batch) that events name of a batch."""
        return [(shipment, batch) for shipment in self._shipped.get(batch, ())]

    def states_at(self, work_unit: str, at_ms: int) -> list[ProductionEvent]:
        return self._valid(self._states.get(work_unit, {}).get(at_ms, ()))

    def instants(self, work_unit: str, low_ms: int, high_ms: int) -> Sequence[int]:
        """When states of a work unit are told, from `low_ms` to `high_ms`, both included."""
        told = self._instants.get(work_unit, [])
        return told[bisect_left(told, low_ms) : bisect_right(told, high_ms)]

    def states_before(self, work_unit: str, at_ms: int) -> Iterator[tuple[int, list[ProductionEvent]]]:
        """Instants before one and what is told at them, the nearest first."""
        told = self._instants.get(work_unit, [])
        for place in range(bisect_left(told, at_ms) - 1, -1, -1):
            yield told[place], self.states_at(work_unit, told[place])

    def states_after(self, work_unit: str, at_ms: int) -> Iterator[tuple[int, list[ProductionEvent]]]:
        """Instants after one and what is told at them, the nearest first."""
        told = self._instants.get(work_unit, [])
        for place in range(bisect_right(told, at_ms), len(told)):
            yield told[place], self.states_at(work_unit, told[place])

    def count_instants(self, work_unit: str) -> int:
        return len(self._instants.get(work_unit, ()))

    def event(self, key: Key) -> ProductionEvent | None:
        """The event of an identity, also when it is withdrawn; None when nobody sent it."""
        packed = self._events.get(key)
        return None if packed is None else _unpacked(key, packed)

    def is_withdrawn(self, key: Key) -> bool:
        return key in self._withdrawals

    def _valid(self, keys: Iterable[Key]) -> list[ProductionEvent]:
        return sorted((_unpacked(k, self._events[k]) for k in keys if k not in self._withdrawals), key=order)

    def _take(self, event: ProductionEvent, touched: Touched) -> None:
        key, packed = key_of(event.source, event.event_id), _packed(event)
        before = self._events.get(key)
        if before is not None:
            old = _unpacked(key, before)
            if packed == before or rank(_unpacked(key, packed)) <= rank(old):
                return
            self._touch(key, old, touched)
            self._index(key, old, _without)
        self._events[key] = packed
        self._index(key, event, _with)
        self._touch(key, event, touched)
        touched.events.update(self._withdrawals.get(key, ()))
        touched.news.append(event)

    def _touch(self, key: Key, event: ProductionEvent, touched: Touched) -> None:
        """Wherever an event counts, something is touched."""
        if key in self._single:
            touched.events.add(key)
        if not _is_complete(event):
            return
        if event.kind == "withdraw":
            target = _target(event)
            withdrawn = self.event(target)
            if withdrawn is not None and withdrawn.kind != "withdraw":
                self._touch(target, withdrawn, touched)
        elif event.kind in ("job_start", "job_end"):
            touched.jobs.add(plain_text(event, "job"))
        elif event.kind in ("order", "output"):
            touched.ordered.add(plain_text(event, "batch"))
        elif event.kind == "shipment":
            touched.shipments.add(_shipment(event))
        elif event.kind == "state":
            touched.states.add((plain_text(event, "work_unit"), event.at_ms))

    def _index(self, key: Key, event: ProductionEvent, put: _Put) -> None:
        is_complete = _is_complete(event)
        if event.kind in ("withdraw", "activity") or not is_complete:
            (self._single.add if put is _with else self._single.discard)(key)
        if not is_complete:
            return
        if event.kind == "withdraw":
            put(self._withdrawals, _target(event), key)
        elif event.kind in ("job_start", "job_end"):
            put(self._jobs, plain_text(event, "job"), key)
        elif event.kind == "order":
            put(self._orders, plain_text(event, "batch"), key)
        elif event.kind == "output":
            put(self._outputs, plain_text(event, "batch"), key)
        elif event.kind == "shipment":
            shipment, batch = _shipment(event)
            put(self._shipments, (shipment, batch), key)
            if shipment not in self._shipped.get(batch, ()):
                _with(self._shipped, batch, shipment)
        elif event.kind == "state":
            self._index_state(key, plain_text(event, "work_unit"), event.at_ms, put)

    def _index_state(self, key: Key, work_unit: str, at_ms: int, put: _Put) -> None:
        told, instants = self._states.setdefault(work_unit, {}), self._instants.setdefault(work_unit, [])
        was_told = at_ms in told
        put(told, at_ms, key)
        if at_ms in told and not was_told:
            insort(instants, at_ms)
        elif was_told and at_ms not in told:
            del instants[bisect_left(instants, at_ms)]


def key_of(source: str, event_id: str) -> Key:
    return f"{len(source)} {source}{event_id}"


def _is_complete(event: ProductionEvent) -> bool:
    return all(plain_text(event, name) for name in NEEDED.get(event.kind, ()))


def _target(event: ProductionEvent) -> Key:
    return key_of(event.source, plain_text(event, "event_id"))


def _shipment(event: ProductionEvent) -> tuple[str, str]:
    return plain_text(event, "shipment"), plain_text(event, "batch")


def _with(index: dict[Any, tuple[Any, ...]], entity: Hashable, key: Key) -> None:
    index[entity] = (*index.get(entity, ()), key)


def _without(index: dict[Any, tuple[Any, ...]], entity: Hashable, key: Key) -> None:
    index[entity] = tuple(one for one in index[entity] if one != key)
    if not index[entity]:
        del index[entity]


def _packed(event: ProductionEvent) -> bytes:
    said = [event.at_ms, event.body] if event.kind in _KINDS else []
    if event.kind == "output":
        said = [event.at_ms, {name: event.body[name] for name in _OF_OUTPUT if name in event.body}]
    return _encode([event.revision, event.kind, *said]).encode()


def _unpacked(key: Key, packed: bytes) -> ProductionEvent:
    digits, _, names = key.partition(" ")
    revision, kind, at_ms, body = (*_decode(packed.decode()), 0, {})[:4]
    return ProductionEvent(names[: int(digits)], names[int(digits) :], revision, kind, at_ms, body)
