"""Hours whose end is told far behind it: beyond readings that are taken back, and by amounts of long periods."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from accounting_cases import HOUR
from ledger_rig import CHANNELS, METERS, Rig, mill, steady, withdrawn

from plantprint.facts import Channel, Reading

pytestmark = pytest.mark.integration

KWH = 1_000_000
LONG = {name: Channel("gw", name, c.unit, 3, "amount", 7200) for name, c in CHANNELS.items()}


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.job("j", "u1", 0, None)
        yield made


def pieces() -> dict[str, list[Reading]]:
    """A register of m1 that is silent around an hour's end but for nine wrong readings, which are taken back."""
    wrong = [Reading(HOUR + s * 1000, 5_000_000 + s) for s in range(3660, 4200, 60)]
    after = steady("m1", 4200, 9000)
    first = replace(after[0], value=after[0].value - 400, revision=1)
    return {
        "before": steady("m1", 0, 3300),
        "wrong": wrong,
        "back": [withdrawn(reading) for reading in wrong],
        "after": after,
        "corrected": [first],
    }


@pytest.mark.parametrize(
    ("order", "forgets"),
    [
        ("before wrong back after corrected", False),
        ("before corrected back wrong after", False),
        ("wrong before corrected after back", True),
        ("back after before corrected wrong", False),
    ],
)
def test_readings_taken_back_after_an_hours_end_hide_nothing(rig: Rig, order: str, forgets: bool) -> None:
    rig.declare()
    rig.steady(0, 9000, meters=[m for m in METERS if m != "m1"])
    for name in order.split():
        rig.store({"m1": pieces()[name]})
        rig.run()
        rig.assert_clean()
        if forgets:
            rig.restart()
    # From the last reading before the hour's end to the corrected one 15 minutes later: 14.6 kWh, a third of them in this hour.
    assert rig.amount("batch/b-j", "grid", 0) == 55 * KWH + 4_866_667
    assert {key: amount for hour in rig.recomputed() for key, amount in hour.net.items()} == rig.net()


@pytest.mark.parametrize("first", ["old", "new"])
def test_readings_taken_back_in_other_decimals_hide_nothing_either(rig: Rig, first: str) -> None:
    """The agent was configured anew just before: two stored channels are one stream."""
    rig.declare()
    old = rig.channel_ids["m1"]
    rig.declare(replace(CHANNELS["m1"], decimals=4))
    new = rig.channel_ids["m1"]
    rig.steady(0, 9000, meters=[m for m in METERS if m != "m1"])
    told = pieces()
    again = [replace(r, value=r.value * 10) for r in [told["before"][-1], *told["back"]]]
    streams = {"old": (old, [*told["before"], *told["wrong"], *told["after"]]), "new": (new, again)}
    for name in sorted(streams, key=lambda name: name != first):
        rig.channel_ids["m1"], several = streams[name]
        rig.store({"m1": several})
        rig.run()
        rig.assert_clean()
    assert rig.amount("batch/b-j", "grid", 0) == 60 * KWH


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 3, 2, 0)])
def test_amounts_that_overlap_more_often_than_readings_are_looked_ahead_are_all_counted(
    rig: Rig, order: tuple[int, ...]
) -> None:
    """12 kWh of two hours every ten minutes: 72 kW once they all overlap, whatever comes first."""
    rig.declare(*LONG.values())
    told = [Reading(HOUR + s * 1000, 12_000) for s in range(7200, 25_200, 600)]
    pieces = (told[:7], told[7:9], told[9:12], told[12:])
    for several in [pieces[at] for at in order]:
        rig.store({m: [replace(r, value=48_000) for r in several] if m == "incomer" else several for m in METERS})
        rig.run()
        rig.assert_clean()
    assert [rig.amount("batch/b-j", "grid", hour) for hour in range(3)] == [21 * KWH, 57 * KWH, 72 * KWH]
    assert {key: amount for hour in rig.recomputed() for key, amount in hour.net.items()} == rig.net()
