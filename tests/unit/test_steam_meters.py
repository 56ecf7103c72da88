"""Meters of steam and condensate: heat from mass, pressure and temperature bucket by bucket; what is held, unknown, wrong."""

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from steam_meters import GAUGES, MASS, PRESSURE, steam_hours, steam_meter
from strategies import HOUR_0, at

from plantprint import neutral
from plantprint.facts import Channel, Quality, Reading
from plantprint.intervals import values_of
from plantprint.steam import STATE_UNITS
from plantprint_edge.load import AUXILIARY_UNITS

QUARTER = 900
MASS_READ = at(*((second, 10_000 + second * 2 // 3) for second in range(-600, 7201, 300)))  # 0.6 t in every quarter
EVERY_5_MIN = range(-600, 7201, 300)


def steady(value: int, seconds: Sequence[int] = EVERY_5_MIN) -> tuple[Reading, ...]:
    return at(*((second, value) for second in seconds))


@pytest.mark.parametrize(
    ("reads", "more", "quarter"),
    [
        # 0.6 t of it a quarter; IF97: 2762.75 kJ/kg at 7 bar, 2845.29 at 200 °C, 2700.78 with 3 % of water.
        (("pressure",), {}, 1_607_405),
        (("pressure", "temperature"), {}, 1_656_930),
        (("pressure",), {"steam": {"dryness": "0.97"}}, 1_570_225),
        (("pressure",), {"steam": {"base_kj_per_kg": "0"}}, 1_657_649),
        (("pressure",), {"steam": {"pressure_is": "gauge"}}, 1_610_778),
        ((), {"steam": {"pressure": "0.7"}}, 1_607_405),
        ((), {"steam": {"pressure": "0.7", "temperature": 200}}, 1_656_930),
        (("pressure",), {"unit": "kWh"}, 446_501_514),
        (("temperature",), {"condensate": {}}, 461_192),  # 852.39 kJ/kg: water that boils at 200 °C
        ((), {"condensate": {"temperature": 90}}, 175_937),  # 376.97 kJ/kg
        ((), {"condensate": {"temperature": 15}}, 0),  # colder than the water that heat is counted from
    ],
)
def test_heat_is_mass_times_what_its_state_is_worth(reads: tuple[str, ...], more: dict[str, Any], quarter: int) -> None:
    told = {"pressure": steady(700), "temperature": steady(2000)}
    meter = steam_meter(*reads, **more)
    [hour] = steam_hours(meter, MASS_READ, {name: told[name] for name in ("pressure", "temperature") if name in reads})
    assert hour.told.amount.tolist() == [quarter] * 4
    assert hour.told.quality.tolist() == [Quality.MEASURED] * 4
    assert not hour.told.missing_ms.any()
    assert hour.codes == []


def test_a_bucket_is_worth_the_mean_of_what_was_held_in_it() -> None:
    pressure = at((-600, 600), (300, 600), (600, 900), (900, 700), (1800, 800), (3000, 800), (3600, 800))
    [changing] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": pressure})
    # Ten minutes of 6 bar and five of 9 are 7 bar, held as long as max_gap and longer; then 7, then 8.
    [constant] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": steady(700)})
    [higher] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": steady(800)})
    assert changing.told.amount[:2].tolist() == constant.told.amount[:2].tolist()
    assert changing.told.amount[2:].tolist() == higher.told.amount[2:].tolist()


def test_a_gauge_that_falls_silent_is_held_estimated_and_then_missing() -> None:
    meter = steam_meter("pressure", steam={"hold_s": 1800}, max_gap_s=300)
    first, second = steam_hours(meter, MASS_READ, {"pressure": steady(700, range(-600, 1801, 300))}, count=2)
    measured, estimated, missing = (int(q) for q in (Quality.MEASURED, Quality.ESTIMATED, Quality.MISSING))
    assert first.told.quality.tolist() == [measured, measured, estimated, estimated]
    assert first.told.amount.tolist() == [1_607_405] * 4
    assert second.told.quality.tolist() == [missing] * 4
    assert second.told.amount.tolist() == [0] * 4
    assert second.told.missing_ms.tolist() == [QUARTER * 1000] * 4
    assert (first.codes, second.codes) == ([], ["heat-unknown"])


def test_what_is_held_is_carried_over_the_edge_of_the_hour() -> None:
    meter = steam_meter("pressure", steam={"hold_s": 7200}, max_gap_s=3600)
    [first, second] = steam_hours(meter, MASS_READ, {"pressure": steady(700, (-600, 0))}, count=2)
    assert first.told.amount.tolist() == second.told.amount.tolist() == [1_607_405] * 4
    assert first.told.quality.tolist() == [Quality.MEASURED] * 4
    assert second.told.quality.tolist() == [Quality.ESTIMATED] * 4


def test_before_the_first_reading_of_a_gauge_heat_is_missing_and_a_bucket_known_in_part_is_estimated() -> None:
    [hour] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": steady(700, range(1200, 3601, 300))})
    assert hour.told.amount.tolist() == [0, *[1_607_405] * 3]
    assert hour.told.quality.tolist() == [Quality.MISSING, Quality.ESTIMATED, Quality.MEASURED, Quality.MEASURED]
    assert hour.codes == ["heat-unknown"]
    [live] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": ()}, until_ms=HOUR_0 + 1_000_000)
    assert live.told.missing_ms.tolist() == [900_000, 100_000, 0, 0]  # what lies ahead is not missing


def test_where_nothing_flows_nothing_must_be_known_of_it() -> None:
    stands = at((-600, 5000), (1800, 5000), (3600, 5000))
    meter = steam_meter("pressure", "temperature", max_gap_s=3600)
    [hour] = steam_hours(meter, stands, {"pressure": (), "temperature": steady(200)})
    assert hour.told.amount.tolist() == [0] * 4
    assert hour.told.quality.tolist() == [Quality.MEASURED] * 4
    assert hour.codes == []


def test_the_worst_quality_of_mass_and_state_counts() -> None:
    mass = tuple(replace(r, quality=Quality.RECOVERED) if r.t_ms > HOUR_0 + 2_000_000 else r for r in MASS_READ)
    pressure = tuple(replace(r, quality=Quality.ESTIMATED) if r.t_ms == HOUR_0 + 300_000 else r for r in steady(700))
    [hour] = steam_hours(steam_meter("pressure"), mass, {"pressure": pressure})
    assert hour.told.quality.tolist() == [1, 3, 2, 2]


def test_steam_colder_than_its_pressure_allows_counts_as_dry_and_estimated() -> None:
    meter = steam_meter("pressure", "temperature")
    [hour] = steam_hours(meter, MASS_READ, {"pressure": steady(700), "temperature": steady(1500)})
    assert hour.told.amount.tolist() == [1_607_405] * 4
    assert hour.told.quality.tolist() == [Quality.ESTIMATED] * 4
    assert hour.codes == ["heat-cold"]
    assert "0.7 MPa 150 °C" in hour.issues[0].message


def test_a_pressure_that_steam_cannot_have_makes_the_heat_missing() -> None:
    [hour] = steam_hours(
        steam_meter("pressure"), MASS_READ, {"pressure": steady(30_000)}
    )  # 30 MPa, without a temperature
    assert hour.told.quality.tolist() == [Quality.MISSING] * 4
    assert hour.codes == ["heat-impossible"]


def test_sentinels_of_gauges_do_not_count() -> None:
    pressure = (*steady(700)[:4], *at((450, 32_767_000), (460, -5)), *steady(700)[4:])
    [hour] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": pressure})
    assert hour.told.amount.tolist() == [1_607_405] * 4
    assert hour.told.quality.tolist() == [Quality.MEASURED] * 4
    assert hour.codes == ["reading-impossible"]


def test_a_gateway_may_send_every_unit_that_a_gauge_of_steam_may_have() -> None:
    assert {AUXILIARY_UNITS[unit] for units in STATE_UNITS.values() for unit in units} == {"gauge"}


def test_what_counts_of_a_very_fine_gauge_is_what_a_database_can_hold() -> None:
    values = values_of(Channel("gw", "p", "Pa", 12, "gauge"), steam_meter("pressure"), Decimal(1), "pressure")
    assert values == (612 * 10**12, 2**62)


@pytest.mark.parametrize(
    "channel",
    [replace(PRESSURE, unit="degC"), replace(PRESSURE, unit="kW"), replace(PRESSURE, kind="counter")],
)
def test_a_channel_that_tells_no_pressure_is_named(channel: Channel) -> None:
    channels = {**GAUGES, "pressure": channel}
    [hour] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": steady(700)}, channels=channels)
    assert hour.told.quality.tolist() == [Quality.MISSING] * 4
    assert hour.codes == ["channel-unusable", "heat-unknown"]
    assert "bind a gauge in Pa, kPa, bar, MPa as pressure" in hour.issues[0].remedy


def test_the_mass_may_be_a_rate_or_amounts_and_a_state_is_carried_with_either() -> None:
    meter = steam_meter("pressure", max_gap_s=3600, steam={"mass_unit": "kg"})
    once = steady(700, (-600,))
    rate = steam_hours(
        meter, steady(2400), {"pressure": once}, count=2, counter=Channel("gw", "mass", "kg/h", 0, "gauge")
    )
    per_quarter = steady(600, range(0, 7201, 900))
    amount = steam_hours(
        meter, per_quarter, {"pressure": once}, count=2, counter=Channel("gw", "mass", "kg", 0, "amount", period_s=900)
    )
    for hours in (rate, amount):
        assert hours[0].told.amount.tolist() == [1_607_405] * 4
        assert hours[1].told.amount.tolist() == [0] * 4  # held for an hour, and not longer
        assert hours[1].codes == ["heat-unknown"]


def test_the_rated_mass_of_a_meter_is_one_of_mass() -> None:
    """2.4 t/h: in GJ it would be 6.4, of which no rated_per_hour of 3 could be believed."""
    meter = steam_meter("pressure", rated_per_hour="3")
    [hour] = steam_hours(meter, MASS_READ, {"pressure": steady(700)})
    assert hour.codes == []
    [doubted] = steam_hours(steam_meter("pressure", rated_per_hour="1"), MASS_READ, {"pressure": steady(700)})
    assert doubted.codes == ["counter-noise"]


def test_more_than_any_meter_counts_stays_more_than_any_meter_counts() -> None:
    huge = at((-600, 1), (1800, 10**11), (3600, 2 * 10**11))
    [hour] = steam_hours(
        steam_meter(unit="Wh", steam={"pressure": "0.7"}, max_gap_s=9999), huge, {}, counter=replace(MASS, decimals=0)
    )
    assert hour.told.amount.max() == 2**62


@given(
    st.lists(st.integers(0, 3600), min_size=1, max_size=6, unique=True), st.integers(0, 3599), st.integers(300, 1500)
)
def test_a_reading_of_a_gauge_changes_nothing_before_it_and_nothing_after_the_next(
    seconds: list[int], late: int, bar: int
) -> None:
    seconds = sorted({0, *seconds})
    pressure = at(*((second, 600 + n) for n, second in enumerate(seconds)))
    worked_in = tuple(sorted({r.t_ms: r for r in (*at((late, bar)), *pressure)}.values()))
    meter = steam_meter("pressure", steam={"hold_s": 9000})
    [before] = steam_hours(meter, MASS_READ, {"pressure": pressure}, bucket_s=60)
    [after] = steam_hours(meter, MASS_READ, {"pressure": worked_in}, bucket_s=60)
    until = min((second for second in seconds if second > late), default=3600)
    touched = {n for n in range(60) if n * 60 < until and (n + 1) * 60 > late}
    differ = {n for n in range(60) if before.told.amount[n] != after.told.amount[n]}
    assert differ <= touched


def test_halving_the_buckets_changes_an_hour_by_roundings_only() -> None:
    pressure = steady(700)
    [coarse] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": pressure})
    [fine] = steam_hours(steam_meter("pressure"), MASS_READ, {"pressure": pressure}, bucket_s=450)
    assert abs(int(coarse.told.amount.sum()) - int(fine.told.amount.sum())) <= 8


EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "steam.facts.json"


def example() -> dict[str, Any]:
    body: dict[str, Any] = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    return body


def accounted(body: dict[str, Any], known_at: str | None = None) -> dict[str, Any]:
    return neutral.accounts_json(neutral.account_facts(neutral.parse_facts(json.dumps(body)), known_at))


def test_a_pressure_that_became_known_later_is_missing_as_of_before() -> None:
    body = example()
    body["readings"][2]["known_at"] = "2026-01-02T00:00:00Z"
    before, now = accounted(body, "2026-01-01T12:00:00Z"), accounted(body)
    assert now == accounted(example()) | {"known_at": None}
    assert before["accounted"] == {}
    assert "heat-unknown" in [issue["code"] for issue in before["issues"]]
    assert [reason["code"] for reason in before["batches"]["X"]["reasons"]] == ["data-missing"]
    assert before["meters"][-1] == now["meters"][-1] | {"amount": "0", "quality": "missing", "missing_ms": 3_600_000}


@pytest.mark.parametrize("channel", ["gw/steam-t", "gw/other-t"])
def test_a_pressure_is_held_over_the_exchange_of_what_counts_the_mass(channel: str) -> None:
    """The pressure was last read at the very instant of the exchange, and so it belongs to the device before."""
    body, half = example(), "2026-01-01T02:30:00Z"
    meter = body["plants"][0]["model"]["meters"][0]
    (binding,) = meter["bindings"]
    meter["bindings"] = [{**binding, "valid_to": half}, {**binding, "channel": channel, "valid_from": half}]
    if channel == "gw/other-t":
        body["channels"].append({**body["channels"][0], "channel": channel})
        body["readings"].append({"channel": channel, "rows": body["readings"][0]["rows"][6:]})
        body["readings"][0]["rows"] = body["readings"][0]["rows"][:7]
    found = accounted(body)
    assert found["accounted"] == accounted(example())["accounted"]
    assert found["meters"][-1] == accounted(example())["meters"][-1]


@pytest.mark.parametrize("at", ["02:00", "02:30"])
@pytest.mark.parametrize("name", ["pressure", "channel"])
def test_what_was_read_of_a_gauge_before_its_binding_began_is_held_after_it(name: str, at: str) -> None:
    """Another gauge, or another device beside the same gauge, which is not read again after the exchange."""
    body, instant = example(), f"2026-01-01T{at}:00Z"
    meter = body["plants"][0]["model"]["meters"][0]
    meter["steam"] = {**meter["steam"], "hold_s": 86_400}
    (binding,) = meter["bindings"]
    number = [c["channel"] for c in body["channels"]].index(binding[name])
    held = body["readings"][[r["channel"] for r in body["readings"]].index(binding["pressure"])]
    held["rows"] = [[t, held["rows"][0][1]] for t, _ in held["rows"] if t <= instant]
    held["rows"].insert(0, ["2026-01-01T01:10:00Z", held["rows"][0][1]])
    wanted = accounted(body)
    told = next(r for r in body["readings"] if r["channel"] == binding[name])
    body["channels"].append({**body["channels"][number], "channel": "gw/other"})
    body["readings"].append({**told, "channel": "gw/other"})
    meter["bindings"] = [{**binding, "valid_to": instant}, {**binding, name: "gw/other", "valid_from": instant}]
    found = accounted(body)
    assert found["accounted"] == wanted["accounted"] != {}
    assert found["meters"] == wanted["meters"]


def test_the_accuracy_of_the_mass_is_that_of_its_heat() -> None:
    body = example()
    body["plants"][0]["model"]["meters"][0]["accuracy_class"] = "1"
    found = accounted(body)["batches"]["X"]["product_footprint"]["uncertainty"]
    assert float(found["from_meters_kg_co2e"]) == pytest.approx(110 * 26.170408 * 0.01 / 3**0.5, abs=1e-4)


def test_amounts_cannot_be_given_for_a_meter_that_takes_its_heat_from_readings() -> None:
    body = example()
    body["readings"] = body["readings"][1:]
    rows = [["2026-01-01T02:00:00Z", "2026-01-01T03:00:00Z", "10"]]
    body["amounts"] = [{"meter": "steam", "unit": "t", "rows": rows}]
    with pytest.raises(neutral.FactsError, match=r"amounts\.0\.meter: 'steam' counts mass .* give readings"):
        accounted(body)
