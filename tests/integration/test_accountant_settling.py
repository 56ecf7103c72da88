"""Hours settle once they are complete or old enough; what comes late corrects them by reversals, as far as it reaches."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import Rig, mill, steady, withdrawn, zero
from psycopg.errors import RaiseException

from plantprint.facts import Channel, Reading
from plantprint.quantities import MICRO
from plantprint.times import SiteClock, from_ms

pytestmark = pytest.mark.integration

HOUR_S = 3600


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.job("j1", "u1", 0, None)
        yield made


def settled(rig: Rig) -> list[int]:
    """Hours after HOUR that are settled."""
    rows = rig.rows("select hour_at from accounted_hour where status = 'settled' order by 1")
    return [(int(at.timestamp() * 1000) - HOUR) // HOUR_MS for (at,) in rows]


def causes(rig: Rig, since: int = 0) -> set[str]:
    return {cause for (cause,) in rig.rows("select distinct cause from posting where posting_id > %s", since)}


def last_posting(rig: Rig) -> int:
    ((number,),) = rig.rows("select coalesce(max(posting_id), 0) from posting")
    return int(number)


def test_a_complete_hour_settles_at_once(rig: Rig) -> None:
    rig.steady(0, HOUR_S - 60)
    rig.run()
    assert settled(rig) == [-1]
    rig.steady(HOUR_S, HOUR_S)
    rig.run()
    assert settled(rig) == [-1, 0]
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO
    assert rig.amount("batch/b-j1", "gas", 0) == 30 * MICRO
    assert rig.amount("idle/u2", "grid", 0) == 36 * MICRO
    assert rig.amount("unmetered/bus", "grid", 0) == 24 * MICRO
    assert causes(rig) == {"settled"}
    rig.assert_clean()


def test_a_silent_meter_holds_an_hour_no_longer_than_the_plant_says(rig: Rig) -> None:
    rig.steady(0, 1800)
    rig.steady(1860, HOUR_S + 840, meters=["incomer", "m1", "m2"])
    rig.run()
    assert settled(rig) == [-1]
    rig.steady(HOUR_S + 900, HOUR_S + 900, meters=["incomer"])
    rig.run()
    assert settled(rig) == [-1, 0]
    assert rig.amount("batch/b-j1", "gas", 0) == 15 * MICRO
    ((missing_ms,),) = rig.rows(
        "select missing_ms from batch_missing where batch = 'b-j1' and hour_at = %s", from_ms(HOUR)
    )
    assert missing_ms == 1800_000
    rig.assert_clean()


def test_silence_over_settled_hours_is_worked_in_when_it_ends(rig: Rig) -> None:
    """The reading that ends it lies in an open hour, yet says what the settled hours before it used."""
    rig.steady(0, 1800)
    rig.steady(1860, 3 * HOUR_S, meters=["incomer", "m1", "m2"])
    rig.run()
    assert settled(rig) == [-1, 0, 1, 2][: len(settled(rig))]
    assert rig.amount("batch/b-j1", "gas") == 15 * MICRO
    rig.store({"gas": steady("gas", 2 * HOUR_S + 1800, 3 * HOUR_S)})
    rig.run()
    assert rig.amount("batch/b-j1", "gas", 0) == 30 * MICRO
    assert rig.amount("batch/b-j1", "gas", 1) == 30 * MICRO
    assert {
        q
        for (q,) in rig.rows(
            "select distinct quality from posting where source = 'gas' and hour_at = %s", from_ms(HOUR + HOUR_MS)
        )
    } == {2}
    rig.assert_clean()


def test_readings_after_the_hour_decide_what_its_last_ones_were(rig: Rig) -> None:
    """The hour settles while the device says 0; that it could not read shows only afterwards."""
    rig.steady(0, HOUR_S, meters=["incomer", "m2", "gas"])
    rig.store({"m1": [zero(r) if r.t_ms >= HOUR + HOUR_S * 1000 - 60_000 else r for r in steady("m1", 0, HOUR_S)]})
    rig.run()
    assert settled(rig) == [-1, 0]
    assert rig.amount("batch/b-j1", "grid", 0) == 58 * MICRO
    rig.steady(HOUR_S + 60, HOUR_S + 300)
    rig.run()
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO
    rig.assert_clean()


def test_a_late_reading_reverses_and_posts_anew(rig: Rig) -> None:
    late = Reading(HOUR + HOUR_S * 1000, 1_000_000 + 70_000)
    rig.steady(0, 2 * HOUR_S, every_s=900, meters=["incomer", "m2", "gas"])
    rig.store({"m1": [r for r in steady("m1", 0, 2 * HOUR_S, 900) if r.t_ms != late.t_ms]})
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in (0, 1)] == [60 * MICRO, 60 * MICRO]
    edge, ((known_at,),) = last_posting(rig), rig.rows("select max(known_at) from posting")
    rig.store({"m1": [late]})
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in (0, 1)] == [70 * MICRO, 50 * MICRO]
    assert causes(rig, edge) == {"reading", "reversal: reading"}
    # What was known before is still what the postings of then add up to.
    assert [rig.amount("batch/b-j1", "grid", h, known_at) for h in (0, 1)] == [60 * MICRO, 60 * MICRO]
    for change in ("update posting set amount = 0", "delete from posting"):
        with pytest.raises(RaiseException, match="append-only"):
            rig.rows(change)
    rig.assert_clean()


def test_a_withdrawn_reading_counts_no_longer(rig: Rig) -> None:
    readings = steady("m1", 0, HOUR_S, 900)
    wrong = Reading(HOUR + 1900_000, 1_000_000 + 59_000)
    rig.steady(0, HOUR_S, every_s=900, meters=["incomer", "m2", "gas"])
    rig.store({"m1": sorted([*readings, wrong])})
    rig.run()
    edge = last_posting(rig)
    rig.store({"m1": [withdrawn(wrong)]})
    rig.run()
    rig.assert_clean()
    assert settled(rig) == [-1, 0]
    assert last_posting(rig) >= edge
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO


def test_recompute_stops_where_the_hours_begin_with_what_they_began_with(rig: Rig) -> None:
    rig.steady(0, 6 * HOUR_S)
    rig.run()
    known = dict(rig.rows("select hour_at, known_at from accounted_hour"))
    rig.store({"m1": [Reading(HOUR + HOUR_S * 1000 + 1_830_000, 1_000_000 + 90_200)]})
    rig.run()
    changed = {at for at, known_at in rig.rows("select hour_at, known_at from accounted_hour") if known[at] != known_at}
    assert changed == {from_ms(HOUR + HOUR_MS)}
    rig.assert_clean()


def test_late_readings_far_apart_do_not_drag_in_what_lies_between(rig: Rig) -> None:
    rig.steady(0, 8 * HOUR_S)
    rig.run()
    known = dict(rig.rows("select hour_at, known_at from accounted_hour"))
    for hour in (1, 5):
        rig.store({"m2": [Reading(HOUR + hour * HOUR_MS + 1_830_000, 1_000_000 + hour * 36_000 + 18_301)]})
    rig.run()
    changed = {at for at, known_at in rig.rows("select hour_at, known_at from accounted_hour") if known[at] != known_at}
    assert changed == {from_ms(HOUR + h * HOUR_MS) for h in (1, 5)}
    rig.assert_clean()


def test_readings_before_the_first_make_hours_of_their_own(rig: Rig) -> None:
    rig.steady(0, HOUR_S)
    rig.run()
    assert settled(rig) == [-1, 0]
    rig.steady(-2 * HOUR_S, -60)
    rig.run()
    assert settled(rig) == [-3, -2, -1, 0]
    assert rig.amount("unassigned/u1", "grid", -2) + rig.amount("idle/u1", "grid", -2) == 60 * MICRO
    rig.assert_clean()


def test_a_meter_that_comes_later_was_not_missing_before(rig: Rig) -> None:
    """Its first reading ends the time in which nobody could tell whether it was silent or not there yet."""
    rig.steady(0, 2 * HOUR_S + 900, meters=["incomer", "m1", "m2"])
    rig.run()
    assert (
        rig.rows("select sum(missing_ms) from batch_missing where hour_at = %s", from_ms(HOUR + HOUR_MS))[0][0]
        == HOUR_MS
    )
    rig.steady(2 * HOUR_S + 960, 2 * HOUR_S + 1800)
    rig.run()
    assert rig.audit().findings == []
    missing = rig.rows(
        "select count(*) from interval where meter = 'gas' and hour_at < %s", from_ms(HOUR + 2 * HOUR_MS)
    )
    assert missing == [(0,)]


@pytest.mark.parametrize("slice_s", [2.0, 0.0001])
def test_a_model_that_takes_effect_later_changes_its_own_hours(database_url: str, slice_s: float) -> None:
    """However few hours fit into a pass."""
    with Rig(database_url, settle_slice_s=slice_s) as rig:
        rig.apply(mill())
        rig.declare()
        rig.steady(0, 5 * HOUR_S)
        rig.run()
        body = mill()
        body["flows"][1]["amount"], body["flows"][2]["amount"] = "m2", "m1"
        rig.apply(body, effective_s=2 * HOUR_S)
        rig.run()
        assert [rig.amount("idle/u1", "grid", h) // MICRO for h in range(5)] == [60, 60, 36, 36, 36]
        assert {c for c in causes(rig) if "model" in c} == {"model 2", "reversal: model 2"}
        rig.assert_clean()


def test_open_hours_of_two_models_are_each_accounted_by_their_own(rig: Rig) -> None:
    body = mill(bucket_s=900)
    body["flows"][1]["amount"], body["flows"][2]["amount"] = "m2", "m1"
    rig.apply(body, effective_s=HOUR_S)
    rig.steady(0, 1800)
    rig.steady(1860, HOUR_S + 600, meters=["incomer", "m1", "m2"])
    rig.run()
    assert settled(rig) == [-1]
    grid = rig.live("batch", "b-j1")["by_source"]["grid"]["amount"]
    assert float(grid) == pytest.approx(60 + 36 / 6)
    rig.steady(1860, 2 * HOUR_S)
    rig.run()
    rig.assert_clean()
    assert rig.live("batch", "b-j1")["by_source"]["grid"]["amount"] == "96"


def test_a_channel_with_other_decimals_is_the_same_stream(rig: Rig) -> None:
    rig.steady(0, HOUR_S + 600)
    rig.run()
    rig.channel_ids["m1-old"] = rig.channel_ids["m1"]
    rig.declare(Channel("gw", "m1", "kWh", 4, "counter"))
    finer = [Reading(r.t_ms, r.value * 10) for r in steady("m1", HOUR_S + 660, 2 * HOUR_S)]
    rig.store({"m1": finer})
    rig.steady(HOUR_S + 660, 2 * HOUR_S, meters=["incomer", "m2", "gas"])
    rig.run()
    assert [rig.amount("batch/b-j1", "grid", h) for h in (0, 1)] == [60 * MICRO, 60 * MICRO]
    rig.assert_clean()


def test_hours_keep_the_stream_they_had_when_a_channel_changes_its_unit(rig: Rig) -> None:
    """The gateway is set up anew in MWh; late facts in the old hours still find their kWh."""
    rig.steady(0, HOUR_S + 600)
    rig.run()
    old = rig.channel_ids["m1"]
    rig.declare(Channel("gw", "m1", "MWh", 6, "counter"))
    rig.store({"m1": steady("m1", 2 * HOUR_S, 3 * HOUR_S)})
    rig.steady(HOUR_S + 660, 3 * HOUR_S, meters=["incomer", "m2", "gas"])
    rig.run()
    rig.job("j2", "u2", 0, 600)
    rig.channel_ids["m1"] = old
    rig.store({"m1": [Reading(HOUR + 1_830_000, 1_000_000 + 30_499)]})
    rig.run()
    assert rig.amount("batch/b-j1", "grid", 0) == 60 * MICRO
    assert rig.amount("batch/b-j1", "grid", 2) == 60 * MICRO
    rig.assert_clean()


def test_a_clock_of_its_own_ages_the_hours(database_url: str) -> None:
    """A run whose site time is ahead of its readings settles what is old by that time."""
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=HOUR, speed=1000)
    with Rig(database_url, clock=clock) as rig:
        rig.apply(mill())
        rig.declare()
        rig.steady(0, 1800)
        for _ in range(4):
            rig.run()  # each pass is a second of wall time, which is 1000 s of the site's
        assert settled(rig) == [-1]
        rig.run()
        assert settled(rig) == [-1, 0]
        rig.assert_clean()


def test_intervals_of_what_was_not_there_are_not_stored(rig: Rig) -> None:
    """A device that woke up in the year 2000 makes hours without anything in them, and little of it."""
    rig.store({"gas": [Reading(HOUR - 48 * HOUR_MS, 1)]})
    rig.steady(0, HOUR_S)
    rig.run()
    assert len(settled(rig)) == 50
    assert rig.rows("select count(*) from interval where meter = 'm1'") == [(1,)]
    rig.assert_clean()
