"""A late reading makes its own meter's hours anew and takes those of the others as they are stored (invariant 7)."""

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import METERS, Rig, mill, steady

from plantprint.facts import Reading
from plantprint.times import from_ms
from plantprint_collector import store

pytestmark = pytest.mark.integration

_HOURS = 6


def _settled(rig: Rig, *, late: str, from_s: int, to_s: int) -> list[Reading]:
    """Six settled hours without some readings of a meter, which are returned."""
    rig.apply(mill())
    rig.declare()
    rig.job("j1", "u1", 0, 9000)
    rig.job("j2", "u1", 9000, None)
    rig.steady(0, _HOURS * 3600 + 1800, meters=[m for m in METERS if m != late])
    known = steady(late, 0, _HOURS * 3600 + 1800)
    # As uneven as a register is: what is missing shows in each hour.
    uneven = [Reading(r.t_ms, r.value + n * 400 + n % 7 * 200) for n, r in enumerate(known)]
    gone = [r for r in uneven if from_s <= (r.t_ms - HOUR) // 1000 <= to_s]
    rig.store({late: [r for r in uneven if r not in gone]})
    rig.run()
    rig.assert_clean()
    return gone


def _taint(rig: Rig, meter: str) -> None:
    """Raises a register from the first hour to the fourth, behind the accountant's back."""
    rig.conn.execute(
        "update reading set value = value + 300 where channel_id = %s and measured_at between %s and %s",
        (rig.channel_ids[meter], from_ms(HOUR + 1_800_000), from_ms(HOUR + 3 * HOUR_MS + 1_800_000)),
    )


def _told(rig: Rig, meter: str) -> list[int]:
    """What a meter counted in each of the hours from HOUR on that are settled."""
    rows = rig.rows(
        "select (select sum(part) from unnest(amount) part)::bigint from interval where site = %s and meter = %s "
        "and hour_at >= %s order by hour_at",
        rig.site, meter, from_ms(HOUR),
    )  # fmt: skip
    return [amount for (amount,) in rows]


@pytest.mark.parametrize("again", [False, True], ids=["kept in memory", "after a restart"])
def test_only_the_late_meter_is_read_again(database_url: str, again: bool) -> None:
    with Rig(database_url) as rig:
        late = _settled(rig, late="m1", from_s=3000, to_s=4200)
        before, others = _told(rig, "m1"), _told(rig, "m2")
        if again:
            rig.restart()
        _taint(rig, "m2")
        rig.store({"m1": late})
        rig.run()
        assert [n for n, (old, new) in enumerate(zip(before, _told(rig, "m1"), strict=True)) if old != new] == [0, 1]
        assert _told(rig, "m2") == others
        # An order to account again trusts nothing.
        store.mark_site(rig.conn, rig.site, from_ms_=HOUR, to_ms_=HOUR + HOUR_MS - 1, cause="recompute")
        rig.run()
        assert _told(rig, "m2")[0] != others[0]


@pytest.mark.parametrize("cause", ["reading", "recompute"])
def test_what_a_pass_leaves_to_do_is_not_taken_as_stored(database_url: str, cause: str) -> None:
    """Every pass works one hour, by an accountant that remembers nothing of the one before."""
    with Rig(database_url, settle_slice_s=1e-9) as rig:
        late = _settled(rig, late="m1", from_s=600, to_s=_HOURS * 3600 - 600 if cause == "reading" else 0)
        if cause == "reading":
            rig.store({"m1": late})
        else:
            _taint(rig, "m1")
            store.mark_site(rig.conn, rig.site, from_ms_=HOUR, to_ms_=HOUR + _HOURS * HOUR_MS - 1, cause=cause)
        before = _told(rig, "m1")
        for second in range(60):
            if not rig.accountant.run_pass(rig.work, second * 1000):
                break
            rig.restart()
        rig.assert_clean()
        changed = [n for n, (old, new) in enumerate(zip(before, _told(rig, "m1"), strict=True)) if old != new]
        assert changed == ([0, 1, 2, 3, 4, 5] if cause == "reading" else [0, 3])


@pytest.mark.contradicts("what a meter told is falsified, to see that it is not made anew")
def test_a_meter_with_other_rules_is_made_anew(database_url: str) -> None:
    """Another model version names its meter; what the others told stays."""
    with Rig(database_url) as rig:
        _settled(rig, late="m1", from_s=0, to_s=-1)
        _taint(rig, "m2")
        model = mill()
        bindings = next(m for m in model["meters"] if m["id"] == "m1")["bindings"]
        bindings[0]["ratio"] = "0.5"
        before, others = _told(rig, "m1"), _told(rig, "m2")
        rig.apply(model, 2 * 3600)
        rig.run()
        assert _told(rig, "m1") == [*before[:2], *(amount // 2 for amount in before[2:])]
        assert _told(rig, "m2") == others
