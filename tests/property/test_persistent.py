"""Collections that are never changed: what is made of them equals what would be built anew, and they stay as they were."""

from hypothesis import given, settings
from hypothesis import strategies as st

from plantprint.persistent import PersistentMap
from plantprint.production import StateSpan
from plantprint.spans import FOREVER, Spans, end_of

KEYS = st.text("abc", max_size=3)
SPANS = st.builds(
    lambda start, length, state: StateSpan("u", f"{state}{length}", start, None if length is None else start + length),
    st.integers(0, 40),
    st.none() | st.integers(0, 20),
    st.sampled_from("ab"),
)


@given(st.lists(st.tuples(st.dictionaries(KEYS, st.integers(0, 3)), st.sets(KEYS)), max_size=6))
@settings(max_examples=100, deadline=None)
def test_a_map_is_the_dictionary_and_tells_what_differs(changes: list[tuple[dict[str, int], set[str]]]) -> None:
    known: PersistentMap[str, int] = PersistentMap()
    for came, gone in changes:
        before = dict(known)
        after = known.changed(came, gone)
        wanted = {key: value for key, value in before.items() if key not in gone} | came
        assert dict(known) == before
        assert list(after.items()) == sorted(wanted.items())
        assert len(after) == len(wanted)
        assert all(key in after for key in wanted)
        assert after.differing(known) == {k for k in before.keys() | wanted.keys() if before.get(k) != wanted.get(k)}
        known = after


@given(st.sets(SPANS, max_size=40), st.lists(st.tuples(SPANS, st.booleans()), max_size=30), st.data())
@settings(max_examples=100, deadline=None)
def test_spans_are_found_by_time_whatever_came_and_went(
    first: set[StateSpan], changes: list[tuple[StateSpan, bool]], data: st.DataObject
) -> None:
    known, wanted = Spans(first), set(first)
    for span, stays in changes:
        gone = {span} & wanted if not stays else set[StateSpan]()
        came = {span} - wanted if stays else set[StateSpan]()
        known, wanted = known.changed(gone, came), (wanted - gone) | came
        ordered = sorted(wanted, key=lambda one: (one.start_ms, one))
        assert list(known) == ordered
        low, high = data.draw(st.integers(-1, 70)), data.draw(st.integers(-1, 70) | st.just(FOREVER))
        assert known.within(low, high) == [one for one in ordered if one.start_ms < high and end_of(one) > low]
        assert known.starts_after(low) == min((one.start_ms for one in ordered if one.start_ms > low), default=None)
