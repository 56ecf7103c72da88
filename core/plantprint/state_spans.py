"""States of a work unit from what is told at instants; when some of it changes, only the states around those are made anew."""

from collections.abc import Iterable, Iterator, Sequence

from plantprint.facts import ProductionEvent
from plantprint.production import StateSpan
from plantprint.production_events import EventBook
from plantprint.production_rules import state_of
from plantprint.spans import FOREVER, Spans

# When more than one in so many instants of a work unit change, they are all gone through once.
_DENSE = 8


def follow_states(
    events: EventBook, work_unit: str, changed: Sequence[int], old: Spans[StateSpan]
) -> tuple[set[StateSpan], set[StateSpan]]:
    """States that went and came where something else than before is told at instants, which are in order."""
    stretches = [(at_ms, at_ms) for at_ms in changed]
    if _DENSE * len(changed) > events.count_instants(work_unit):
        stretches = [(changed[0], changed[-1])]
    gone: set[StateSpan] = set()
    came: set[StateSpan] = set()
    spans = old
    for low_ms, high_ms in stretches:
        left, fresh = _restate(events, work_unit, low_ms, high_ms, spans)
        spans = spans.changed(left, fresh)
        gone, came = (gone | (left - came)) - fresh, (came - left) | (fresh - gone)
    return gone, came


def _restate(
    events: EventBook, work_unit: str, low_ms: int, high_ms: int, spans: Spans[StateSpan]
) -> tuple[set[StateSpan], set[StateSpan]]:
    """The same for what is told from an instant to another: neither the states before nor those after the next change."""
    before = _told(events.states_before(work_unit, low_ms))
    after = _told(events.states_after(work_unit, high_ms))
    told = [
        (at_ms, state)
        for at_ms in events.instants(work_unit, low_ms, high_ms)
        if (state := state_of(events.states_at(work_unit, at_ms))) is not None
    ]
    end_ms: int | None = None
    if before is not None:
        [lasting] = spans.within(before[0], before[0] + 1)
        told.insert(0, (lasting.start_ms, before[1]))
    if after is not None:
        told.append(after)
        lasting_then = spans.within(after[0], after[0] + 1)
        end_ms = lasting_then[0].end_ms if lasting_then else spans.starts_after(after[0])
    old = set(spans.within(-FOREVER if before is None else before[0], FOREVER if after is None else after[0] + 1))
    new = set(_joined(work_unit, told, end_ms))
    return old - new, new - old


def _told(nearest: Iterator[tuple[int, list[ProductionEvent]]]) -> tuple[int, str] | None:
    """The nearest instant at which a state is told that counts."""
    return next(((at_ms, state) for at_ms, told in nearest if (state := state_of(told)) is not None), None)


def _joined(work_unit: str, told: Iterable[tuple[int, str]], end_ms: int | None) -> list[StateSpan]:
    """Each state lasts until another is told; one that is told again goes on."""
    begins: list[tuple[int, str]] = []
    for at_ms, state in told:
        if not begins or begins[-1][1] != state:
            begins.append((at_ms, state))
    found: list[StateSpan] = []
    for at_ms, state in reversed(begins):
        found.append(StateSpan(work_unit, state, at_ms, end_ms))
        end_ms = at_ms
    return found
