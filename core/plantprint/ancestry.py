"""How far back a footprint reaches: the events and lots behind a lot, asked for round by round from wherever they are kept."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from plantprint.event_fields import plain_text, positive_micro, rank
from plantprint.facts import EventKind, Issue, ProductionEvent
from plantprint.lots import Facts, Lot, Material
from plantprint.material_events import KINDS, reduce_materials, valid_events
from plantprint.production import Batch

_Identity = tuple[str, str]
_ORDERS: frozenset[EventKind] = frozenset({"order"})


def names_of(event: ProductionEvent) -> frozenset[str]:
    """The lots and batches that an event of genealogy is about; none for other kinds."""
    if event.kind not in KINDS:
        return frozenset()
    return frozenset(name for field in ("batch", "lot", "as_lot") if (name := plain_text(event, field)))


class Ancestry:
    """The lots behind `lot` and the events about them: ask a store for what is `wanted`, `add` it, until nothing is.

    No more than `lots_max` lots are followed; what lies beyond them is `beyond`. What the lots put out besides, and
    gave back, is asked for too, but followed no further: it has a unit, in which it must count alike whoever looks at it.
    """

    def __init__(self, lot: str, lots_max: int) -> None:
        self._lots_max = lots_max
        self._known: dict[str, None] = {}
        self._next: dict[str, None] = {lot: None}
        self._beside: dict[str, None] = {}
        self._next_beside: dict[str, None] = {}
        self._events: dict[tuple[str, str, int], ProductionEvent] = {}
        self.beyond: tuple[str, ...] = ()

    @property
    def lots(self) -> tuple[str, ...]:
        """The lot and its ancestors, nearest first."""
        return tuple(self._known)

    @property
    def events(self) -> tuple[ProductionEvent, ...]:
        return tuple(self._events.values())

    @property
    def orders(self) -> dict[str, Batch]:
        """What the orders among the events say of their batches; of several the last counts."""
        found: dict[str, Batch] = {}
        for event in valid_events(self._events.values(), _ORDERS):
            batch, quantity = plain_text(event, "batch"), positive_micro(event.body.get("quantity"))
            found[batch] = Batch(batch, plain_text(event, "product"), quantity, plain_text(event, "unit"), event.at_ms)
        return found

    @property
    def wanted(self) -> list[str]:
        """Lots whose events are needed next: every revision of each that names one of them, and their withdrawals."""
        return [*self._next, *self._next_beside]

    def add(self, events: Iterable[ProductionEvent]) -> None:
        """Takes the events about all that was wanted."""
        for event in events:
            key = (event.source, event.event_id, event.revision)
            self._events[key] = max(event, self._events.get(key, event), key=rank)
        self._known |= self._next
        self._beside |= self._next_beside
        valid = valid_events(self._events.values())
        edges = [edge for event in valid if (edge := _edge(event)) is not None]
        givers = sorted({giver for giver, taker in edges if taker in self._known})
        ahead = [giver for giver in givers if giver not in self._known]
        room = max(self._lots_max - len(self._known), 0)
        self._next = dict.fromkeys(ahead[:room])
        self.beyond = tuple(ahead[room:])
        about = [event for event in valid if plain_text(event, "batch") in self._known]
        besides = {plain_text(event, "lot" if event.kind == "return" else "as_lot") for event in about}
        asked = {"", *self._known, *self._beside, *self._next}
        self._next_beside = dict.fromkeys(sorted(besides - asked))

    def facts(self, batches: Mapping[str, Batch], materials: Iterable[Material]) -> Facts:
        """What the events say of the lots; `batches` are those that were ordered or begun, as far as there are any."""
        made = [
            Lot(name, batch.unit, "made", batch.quantity_micro, at_ms=batch.ordered_ms or 0)
            for name in {**self._known, **self._beside}
            if (batch := batches.get(name)) is not None
        ]
        units = {lot.lot: lot.unit for lot in made if lot.unit}
        facts = reduce_materials(self._events.values(), materials, made, units)
        if not self.beyond:
            return facts
        known = next(iter(self._known))
        message = f"{known!r} reaches back to more than {self._lots_max} lots; what lies beyond is not in its figure"
        issue = Issue("ancestry-cut", known, message, "raise the limit of lots that a footprint follows")
        return Facts(facts.lots, facts.materials, facts.uses, facts.returns, facts.outputs, (*facts.reported, issue))


class EventIndex:
    """Events of genealogy in memory, found by the lots that they name."""

    def __init__(self) -> None:
        self._by_identity: defaultdict[_Identity, dict[int, ProductionEvent]] = defaultdict(dict)
        self._by_name: defaultdict[str, set[_Identity]] = defaultdict(set)
        self._withdrawals: defaultdict[_Identity, list[ProductionEvent]] = defaultdict(list)

    @property
    def lots(self) -> set[str]:
        """Every lot that an event names."""
        return set(self._by_name)

    def add(self, events: Iterable[ProductionEvent]) -> set[str]:
        """Takes new events; returns the lots about which something changed."""
        touched: set[str] = set()
        for event in events:
            identity = (event.source, event.event_id)
            if event.kind == "withdraw":
                target = (event.source, plain_text(event, "event_id"))
                self._withdrawals[target].append(event)
                touched |= self._named(target)
            elif event.kind in KINDS or identity in self._by_identity:
                known = self._by_identity[identity]
                known[event.revision] = max(event, known.get(event.revision, event), key=rank)
                for name in names_of(event):
                    self._by_name[name].add(identity)
                touched |= self._named(identity)
        return touched

    def about(self, lots: Iterable[str]) -> list[ProductionEvent]:
        """Every revision of the events that name one of the lots, and the withdrawals of them."""
        found = {identity for lot in lots for identity in self._by_name.get(lot, ())}
        return [
            event
            for identity in sorted(found)
            for event in (*self._by_identity[identity].values(), *self._withdrawals.get(identity, ()))
        ]

    def all(self) -> list[ProductionEvent]:
        """Every revision of every event, and the withdrawals of them."""
        return self.about(list(self._by_name))

    def knows(self, lot: str) -> bool:
        return lot in self._by_name

    def givers(self, lot: str) -> set[str]:
        """Lots and batches that something of went into the lot."""
        return {giver for giver, taker in self._edges(lot) if taker == lot}

    def loop_of(self, lot: str) -> set[str]:
        """The lots that the lot's own material comes back through, itself among them; empty where none does."""
        behind: dict[str, set[str]] = {}
        waiting = [lot]
        while waiting:
            one = waiting.pop()
            if one not in behind:
                behind[one] = self.givers(one)
                waiting += behind[one]
        ahead: set[str] = set()
        reached = {one for one, givers in behind.items() if lot in givers}
        while reached - ahead:
            ahead |= reached
            reached = {one for one, givers in behind.items() if givers & ahead}
        return ahead if lot in ahead else set()

    def takers(self, lot: str) -> set[str]:
        """Batches and lots that something of the lot went into."""
        return {taker for giver, taker in self._edges(lot) if giver == lot}

    def _edges(self, lot: str) -> list[tuple[str, str]]:
        return [edge for event in valid_events(self.about([lot])) if (edge := _edge(event)) is not None]

    def _named(self, identity: _Identity) -> set[str]:
        return {name for event in self._by_identity.get(identity, {}).values() for name in names_of(event)}


def _edge(event: ProductionEvent) -> tuple[str, str] | None:
    """(giver, taker) of lots or batches between which the event moves something."""
    batch = plain_text(event, "batch")
    other = plain_text(event, "lot" if event.kind == "material_use" else "as_lot")
    if not batch or not other or event.kind not in ("material_use", "output", "scrap"):
        return None
    return (other, batch) if event.kind == "material_use" else (batch, other)
