"""Which chunk is published when: the sending decisions of the uplink, without I/O, clock or task.

Two lanes share one window of chunks that the collector has not acknowledged. `live` takes what was stored since the
connection began; `fill` takes what was there before, oldest first. A quarter of the window is closed to each lane, so
neither delays the other. Only the collector's acknowledgement frees a place; the broker's proves nothing.

A chunk that later ones of its lane overtook is sent again. When a lane stands still, only its oldest chunk is, ever
more rarely: the broker's queue must not fill with copies while the collector is away.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from plantprint.wire.topics import Lane
from plantprint_edge.records import Stored

Received = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Want:
    """A lane has places free: fetch at most `limit` undelivered chunks with after < id <= upto."""

    lane: Lane
    after: int
    upto: int
    limit: int


@dataclass(slots=True)
class _Flight:
    """A published chunk; `order` grows with every publication, `resend_ms` is set once a later one was acknowledged."""

    chunk: Stored
    order: int
    resend_ms: int | None = None
    resends: int = 0


@dataclass(slots=True)
class _LaneState:
    """Chunks with after < id <= upto are to be fetched; `probe_ms` is when standing still becomes a standstill."""

    lane: Lane
    after: int
    upto: int
    wait_ms: int
    probe_ms: int = 0
    standstill: bool = False
    flights: dict[tuple[str, int], _Flight] = field(default_factory=dict)


class Window:
    """The state of sending over one connection; instants are integer milliseconds of any steady clock."""

    def __init__(self, chunks_max: int, resend_after_ms: int, resend_ms_max: int) -> None:
        self._chunks_max = chunks_max
        self._resend_after_ms = resend_after_ms
        self._resend_ms_max = max(resend_ms_max, resend_after_ms)
        self.begin(0)

    def begin(self, newest_id: int, published: Iterable[int] = ()) -> None:
        """A connection starts, or everything must be sent again: what is stored up to `newest_id` goes into `fill`.

        The chunks with the ids `published` went out already, ahead of all others: they are waited for like these.
        """
        self._order = 0
        self._published = frozenset(published)
        self._live = _LaneState("live", newest_id, newest_id, self._resend_after_ms)
        self._fill = _LaneState("fill", 0, newest_id, self._resend_after_ms)

    @property
    def unacked(self) -> int:
        """How many chunks are on their way."""
        return len(self._live.flights) + len(self._fill.flights)

    def stored(self, newest_id: int) -> None:
        """New chunks were committed to the outbox, up to this id."""
        self._live.upto = max(self._live.upto, newest_id)

    def wants(self) -> list[Want]:
        """What to fetch from the outbox now; empty when the window is full or nothing is left to send."""
        free = self._chunks_max - self.unacked
        wants = []
        for state in (self._live, self._fill):
            limit = min(free, self._chunks_max - self._chunks_max // 4 - len(state.flights))
            if state.after < state.upto and limit > 0:
                wants.append(Want(state.lane, state.after, state.upto, limit))
                free -= limit
        return wants

    def take(self, want: Want, chunks: Sequence[Stored], now_ms: int) -> list[Stored]:
        """The outbox's answer to `want`; returns what is to be published now. Fewer than asked for: the lane is dry."""
        state = self._live if want.lane == "live" else self._fill
        state.after = max(state.after, chunks[-1].id if len(chunks) == want.limit else want.upto)
        flying = self._live.flights.keys() | self._fill.flights.keys()
        fresh = [chunk for chunk in chunks if (chunk.epoch, chunk.seq) not in flying]
        if not state.flights:
            self._moves(state, now_ms)
        for chunk in fresh:
            self._order += 1
            state.flights[chunk.epoch, chunk.seq] = _Flight(chunk, self._order)
        return [chunk for chunk in fresh if chunk.id not in self._published]

    def acked(self, received: Received, now_ms: int) -> int:
        """The collector holds these ranges; returns how many chunks left the window."""
        return sum(self._acked(state, received, now_ms) for state in (self._live, self._fill))

    def _acked(self, state: _LaneState, received: Received, now_ms: int) -> int:
        done = [(epoch, seq) for epoch, seq in state.flights if _holds(received.get(epoch, ()), seq)]
        if not done:
            return 0
        newest = max(state.flights.pop(key).order for key in done)
        for flight in state.flights.values():
            if state.standstill:
                flight.resend_ms, flight.resends = now_ms, 0
            elif flight.resend_ms is None and flight.order < newest:
                flight.resend_ms = now_ms + min(self._resend_after_ms << flight.resends, self._resend_ms_max)
        if state.standstill and state is self._live:
            self._backlog_to_fill()
        self._moves(state, now_ms)
        return len(done)

    def _backlog_to_fill(self) -> None:
        """What was stored during a standstill is backlog; `live` goes on with what is new."""
        self._fill.upto = self._live.after = self._live.upto

    def _moves(self, state: _LaneState, now_ms: int) -> None:
        state.standstill = False
        state.wait_ms = self._resend_after_ms
        state.probe_ms = now_ms + state.wait_ms

    def resends(self, now_ms: int) -> list[tuple[Lane, Stored]]:
        """What is to be published once more now."""
        again = []
        for state in (self._live, self._fill):
            for flight in self._due(state, now_ms):
                self._order += 1
                flight.order, flight.resend_ms, flight.resends = self._order, None, min(flight.resends + 1, 16)
                again.append((state.lane, flight.chunk))
        return again

    def _due(self, state: _LaneState, now_ms: int) -> list[_Flight]:
        if not state.flights or now_ms < state.probe_ms:
            return [f for f in state.flights.values() if f.resend_ms is not None and now_ms >= f.resend_ms]
        state.standstill = True
        state.wait_ms = min(state.wait_ms * 2, self._resend_ms_max)
        state.probe_ms = now_ms + state.wait_ms
        return [min(state.flights.values(), key=lambda flight: flight.chunk.id)]

    def next_ms(self) -> int | None:
        """When `resends` should be asked next, None while nothing is on its way."""
        return min(self._timers(), default=None)

    def _timers(self) -> Iterator[int]:
        for state in (self._live, self._fill):
            if state.flights:
                yield state.probe_ms
                yield from (f.resend_ms for f in state.flights.values() if f.resend_ms is not None)


def _holds(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    return any(low <= seq <= high for low, high in ranges)
