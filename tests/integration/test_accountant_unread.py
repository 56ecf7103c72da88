"""What the accountant must not take for settled: readings whose marks it has not taken yet, and an hour that a shipment posted."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR
from ledger_chaos import KINDS
from ledger_rig import CHANNELS, METERS, Rig, mill, steady

from plantprint.facts import Channel, Reading

pytestmark = pytest.mark.integration

NEW = Channel("gw2", "new", "kWh", 3, "counter")
PACE = {"incomer": 120_000, "m1": 60_000, "m2": 36_000, "gas": 30_000}


@pytest.fixture
def rig(database_url: str, request: pytest.FixtureRequest) -> Iterator[Rig]:
    with Rig(database_url, marks_per_pass_max=request.param) as made:
        made.apply(mill())
        made.job("j1", "u1", 0, None)
        yield made


def late(meter: str, second: int, like_s: int) -> dict[str, list[Reading]]:
    """The register of another second."""
    return {meter: [Reading(HOUR + second * 1000, steady(meter, like_s, like_s)[0].value)]}


@pytest.mark.parametrize("rig", [6], indirect=True)
def test_a_late_reading_behind_a_backlog_counts_although_the_hours_were_opened_anew_meanwhile(rig: Rig) -> None:
    """Opening them reads it, long before its mark is taken; the last settled hour is without it all the same."""
    rig.declare()
    rig.steady(-60, 3600)
    rig.steady(3660, 11_400, meters=["incomer", "m2", "gas"])
    rig.store({"m1": [*steady("m1", 3660, 10_740), *steady("m1", 10_860, 11_400)]})
    rig.run()
    rig.store(late("m2", 9030, 9000))
    rig.run()
    rig.declare(NEW)
    rig.store({"new": [Reading(HOUR + 11_401_000, 5)]})
    for second in (11_401, 11_402):
        rig.store({meter: steady(meter, second, second) for meter in METERS})
    rig.store(late("m1", 10_810, 10_740))
    rig.run()
    assert rig.rows("select 1 from dirty") == []
    rig.steady(11_460, 18_060)
    rig.run()
    rig.assert_clean()


@pytest.mark.parametrize("rig", [1, 1000], indirect=True)
def test_a_reading_that_came_and_went_between_two_passes_leaves_nothing_in_the_ledger(rig: Rig) -> None:
    """The first pass takes the mark of one reading, and accounts the hour again with the other one as well."""
    rig.declare(*KINDS["gauges"].values())
    for first_s, last_s in ((-120, 7320), (7440, 10_920)):
        rig.store({m: [Reading(HOUR + s * 1000, PACE[m]) for s in range(first_s, last_s + 1, 120)] for m in METERS})
        rig.run()
    rig.store({"m1": [Reading(HOUR + 9_030_000, 30_000)]})
    rig.store({"m1": [Reading(HOUR + 9_600_000, 10_000, revision=1)]})
    rig.run_pass()
    rig.store({"m1": [Reading(HOUR + 9_600_000, 60_000, revision=2)]})
    rig.run()
    assert rig.rows("select 1 from dirty") == []
    rig.assert_clean()


def test_an_hour_that_a_shipment_posted_whole_stays_in_the_live_figure_when_it_is_settled(database_url: str) -> None:
    """Settling it writes no posting; its amount must come from the ledger from then on all the same."""
    plant = mill() | {"pools": [], "flows": [{"from": "grid", "to": f"u{n}", "amount": f"m{n}"} for n in (1, 2)]}
    plant["meters"] = [meter for meter in plant["meters"] if meter["id"] in ("m1", "m2")]
    plant["sources"] = [source for source in plant["sources"] if source["id"] == "grid"]
    with Rig(database_url) as rig:
        rig.apply(plant)
        rig.declare(CHANNELS["m1"], CHANNELS["m2"])

        def tell(meter: str, *instants_s: int, per_s: int = 0) -> None:
            rig.store({meter: [Reading(HOUR + s * 1000, 1_000_000 + s * per_s) for s in instants_s]})

        rig.job("j1", "u1", -3600, None)
        tell("m1", *range(-60, 3661, 60), per_s=60)
        tell("m2", *range(-60, 3541, 60))
        rig.run()
        rig.event("shipment", 3650, "s1", shipment="S1", batch="b-j1", quantity="1", unit="t", recipient="x")
        rig.run()
        tell("m1", 3720, per_s=60)
        tell("m2", 3600, 3660, 3720)
        rig.run()
        tell("m1", 3780, per_s=60)
        tell("m2", 3780)
        rig.run()
        assert rig.live("batch", "b-j1")["by_source"]["grid"]["amount"] == "230.4"
