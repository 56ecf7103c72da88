"""The live rows and budget alerts: what is known now, how old it is, and each transition told once."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import CHANNELS, METERS, Rig, mill, steady

from plantprint.facts import Channel, ChannelKind, Reading
from plantprint.times import SiteClock, from_ms
from plantprint.wire.messages import Alert
from plantprint_collector.books import account_hours
from plantprint_collector.open_hours import OpenHours
from plantprint_collector.settling import carry_before

pytestmark = pytest.mark.integration

HOUR_S = 3600
STORE_CHANNELS: dict[str, ChannelKind] = {"charge": "counter", "discharge": "counter", "soc": "gauge"}


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    """A site whose clock runs a second per pass, from HOUR; readings every second, buckets of ten."""
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=HOUR, speed=1)
    with Rig(database_url, clock=clock) as made:
        made.apply(mill(bucket_s=10))
        made.declare()
        made.job("j1", "u1", 0, None)
        yield made


def watch(rig: Rig, from_s: int, to_s: int, meters: Any = METERS, per_hour: int | None = None) -> None:
    """Seconds as they pass, with a reading of each meter in each."""
    for second in range(from_s, to_s):
        if meters:
            rig.store({m: steady(m, second, second, 1, per_hour if m == "m1" else None) for m in meters})
        rig.now(second)


def test_a_line_is_live_then_late_then_missing(rig: Rig) -> None:
    watch(rig, 0, 60)
    line = rig.live("work_center", "line")
    assert (line["status"], line["data_age_s"]) == ("live", 0)
    # 96 kWh/h and 30 Nm3/h: nothing is made up, nothing is left out
    assert float(line["rate_kg_co2e_per_hour"]) == pytest.approx(
        96 * rig.factor("grid") + 30 * rig.factor("gas"), rel=1e-3
    )
    seen = []
    for second in range(60, 72):
        rig.now(second)
        line = rig.live("work_center", "line")
        seen.append(line["status"])
        if line["status"] == "missing":
            assert line["rate_kg_co2e_per_hour"] is None
    assert seen == ["live"] * 4 + ["late"] * 4 + ["missing"] * 4
    plant = rig.live("plant", rig.site)
    assert plant["rate_kg_co2e_per_hour"] is None
    assert plant["meters"] == {"total": 4, "missing": 4, "missing_ids": sorted(METERS)}
    assert rig.live("batch", "b-j1")["data_age_s"] == 12


def test_a_meter_that_is_read_rarely_is_missing_later(rig: Rig) -> None:
    """Gas is read twice a minute: it is on its way for 75 s, while the others are missing after 8."""
    for second in range(0, 91, 3):
        rig.store({m: steady(m, second, second) for m in METERS if m != "gas" or second % 30 == 0})
        rig.now(second)
    assert rig.live("plant", rig.site)["meters"]["missing"] == 0
    seen = {}
    for second in (98, 99, 165, 166):
        rig.now(second)
        seen[second] = rig.live("plant", rig.site)["meters"]["missing_ids"]
    others = ["incomer", "m1", "m2"]
    assert seen == {98: [], 99: others, 165: others, 166: sorted(METERS)}


def test_a_meter_with_a_period_is_not_missing_within_it(database_url: str) -> None:
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=HOUR, speed=1)
    with Rig(database_url, clock=clock) as rig:
        rig.apply(mill(bucket_s=10))
        rig.declare(*(Channel("gw", name, c.unit, 3, "amount", 60) for name, c in CHANNELS.items()))
        rig.store({m: [Reading(HOUR + 60_000, 1000)] for m in METERS})
        missing = []
        for second in (60, 150, 210, 211):
            rig.now(second)
            missing.append(rig.live("plant", rig.site)["meters"]["missing"])
        assert missing == [0, 0, 0, 4]


def test_after_one_reading_the_trend_knows_nothing_and_says_so(rig: Rig) -> None:
    """No amount is known yet, so no step has used anything: the buckets are unknown for every step all the same."""
    watch(rig, 100, 101)
    for second in range(101, 140, 5):
        rig.now(second)
    trend = rig.live("trend", rig.site)
    assert set(trend["rate_kg_co2e_per_hour"]) == {"wash", "dye"}
    assert trend["at_ms"][-1] == HOUR + 120_000
    assert all(rates == [None] * len(trend["at_ms"]) for rates in trend["rate_kg_co2e_per_hour"].values())


def dye_rates(rig: Rig, *seconds: int) -> list[float | None]:
    trend = rig.live("trend", rig.site)
    rates = dict(zip(trend["at_ms"], trend["rate_kg_co2e_per_hour"]["dye"], strict=True))
    return [rates[HOUR + second * 1000] for second in seconds]


def test_a_backlog_fills_what_the_trend_missed(rig: Rig) -> None:
    """The machine stands for a minute, then works at twice its pace, and nobody hears of it until later."""
    gas = 30 * rig.factor("gas")
    for second in range(60):
        rig.tick(second)
    rig.shift("m1", 60, 0)
    rig.shift("m1", 120, 120)
    for second in range(60, 180, 10):
        rig.now(second)
    assert dye_rates(rig, 80, 140) == [None, None]
    rig.shift("m1", 180, 60)
    for second in range(180, 200):
        rig.tick(second)
    guess = 60 * rig.factor("grid") + gas  # all that is known is how much it was from end to end
    assert dye_rates(rig, 80, 140) == [pytest.approx(guess, rel=0.02)] * 2
    rig.store({m: steady(m, 60, 179, 1) for m in ("incomer", "m2", "gas")})
    rig.store({"m1": [Reading(HOUR + s * 1000, 1_001_000 + max(0, s - 120) * 100 // 3) for s in range(60, 180)]})
    rig.now(200)
    assert dye_rates(rig, 80, 140) == [
        pytest.approx(gas, rel=0.02),
        pytest.approx(120 * rig.factor("grid") + gas, rel=0.02),
    ]


def test_the_trend_goes_on_over_the_hour_and_over_corrections(rig: Rig) -> None:
    rig.store({m: steady(m, 0, HOUR_S + 600, 10) for m in METERS})
    rig.now(HOUR_S + 600)
    assert len(rig.live("trend", rig.site)["at_ms"]) == 360
    rig.job("j2", "u2", 600, 1200)
    rig.now(HOUR_S + 601)
    trend = rig.live("trend", rig.site)
    assert len(trend["at_ms"]) == 360
    assert not any(trend["missing"])
    assert rig.live("plant", rig.site)["issues_open"] == 0


def test_a_batch_is_settled_and_open_hours_together(rig: Rig) -> None:
    rig.store({m: steady(m, 0, HOUR_S + 1800, 10) for m in METERS})
    rig.now(HOUR_S + 1800)
    body = rig.live("batch", "b-j1")
    assert body["by_source"]["grid"]["amount"] == "90"
    assert sum(map(Decimal, body["by_scope"].values())) == Decimal(body["partial_footprint_kg_co2e"])
    assert body["by_source"]["gas"]["amount"] == "45"
    rig.event("job_end", HOUR_S + 900, "j1.end", job="j1")
    rig.now(HOUR_S + 1801)
    assert rig.live("batch", "b-j1")["by_source"]["grid"]["amount"] == "75"
    rig.store({m: steady(m, HOUR_S + 1810, 2 * HOUR_S + 600, 10) for m in METERS})
    rig.now(2 * HOUR_S + 600)
    assert rig.rows("select id from live where kind = 'batch'") == []
    assert rig.rows("select status, ended_at from batch") == [("waiting", None)]
    rig.event("output", HOUR_S + 900, batch="b-j1", quantity=5)
    rig.now(2 * HOUR_S + 601)
    ended_at = from_ms(HOUR + (HOUR_S + 900) * 1000)
    assert rig.rows("select status, ended_at from batch") == [("finished", ended_at)]


def test_a_work_unit_without_a_meter_of_its_own_is_as_live_as_what_feeds_it(database_url: str) -> None:
    body = mill()
    body["flows"][2]["amount"] = "rest"
    body["flows"] = [f for f in body["flows"] if f["to"] != "unmetered"]
    with Rig(database_url) as rig:
        rig.apply(body)
        rig.declare()
        rig.steady(0, 600, every_s=10)
        rig.run()
        units = {u["work_unit"]: u for u in rig.live("work_center", "line")["work_units"]}
        assert units["u2"]["status"] == "live"
        assert float(units["u2"]["rate_kg_co2e_per_hour"]) > 0


def test_a_budget_alert_is_told_once_whoever_restarts(rig: Rig) -> None:
    """At 150 kg/h the limit; 300 kWh/h at u1 go over it."""
    watch(rig, 0, 40)
    assert rig.live("work_center", "line")["budget"]["state"] == "ok"
    rig.shift("m1", 40, 300)
    rig.shift("incomer", 40, 360)
    states = []
    for second in range(40, 200):
        rig.tick(second)
        states.append(rig.live("work_center", "line")["budget"]["state"])
        if second == 150:
            assert states[-1] == "firing"
            rig.restart()
    assert [s for n, s in enumerate(states) if n == 0 or states[n - 1] != s] == ["ok", "pending", "firing"]
    rig.shift("m1", 200, 60)
    rig.shift("incomer", 200, 120)
    rig.is_broker_there = False
    for second in range(200, 280):
        rig.tick(second)
    assert rig.rows("select state, notified from alert") == [("resolved", "firing")]
    rig.restart()
    rig.is_broker_there = True
    for second in range(280, 284):
        rig.tick(second)
    told = [msgspec.json.decode(payload, type=Alert) for _, payload in rig.told]
    assert [alert.state for alert in told] == ["firing", "resolved"]
    assert len({alert.alert_id for alert in told}) == 1
    assert rig.rows("select state, notified from alert") == [("resolved", "resolved")]


def test_an_alert_that_came_and_went_without_a_broker_is_told_as_both(rig: Rig) -> None:
    rig.is_broker_there = False
    rig.shift("m1", 0, 300)
    rig.shift("incomer", 0, 360)
    for second in range(150):
        rig.tick(second)
    assert rig.rows("select state from alert") == [("firing",)]
    body = mill(bucket_s=10)
    del body["work_centers"][0]["budget"]
    rig.apply(body)  # a line without a budget has no alert
    rig.tick(150)
    assert rig.rows("select state from alert") == [("resolved",)]
    rig.is_broker_there = True
    rig.tick(151)
    assert [msgspec.json.decode(p, type=Alert).state for _, p in rig.told] == ["firing", "resolved"]


def test_hour_of_a_model_with_other_buckets_is_left_out_of_the_trend(rig: Rig) -> None:
    rig.store({m: steady(m, 0, HOUR_S + 1200, 10) for m in METERS})
    rig.apply(mill(bucket_s=60), effective_s=HOUR_S)
    rig.now(HOUR_S + 1200)
    assert len(rig.live("trend", rig.site)["at_ms"]) == 20
    assert rig.live("trend", rig.site)["at_ms"][0] == HOUR + HOUR_MS


def test_a_store_with_a_level_is_open_as_it_settles(database_url: str) -> None:
    """A battery takes 24 kWh an hour and gives 12; its level says that one in ten is lost."""
    body = mill(stores=[{"id": "battery", "name": {"en": "Battery"}, "unit": "kWh", "level": "soc"}])
    body["meters"] += [
        {"id": name, "name": {"en": name}, "unit": "kWh", "bindings": [{"channel": f"gw/{name}"}]}
        for name in ("charge", "discharge", "soc")
    ]
    body["flows"][3:4] = [
        {"from": "bus", "to": "battery", "amount": "charge"},
        {"from": "battery", "to": "u2", "amount": "discharge"},
    ]
    with Rig(database_url) as rig:
        rig.apply(body)
        rig.declare(*CHANNELS.values(), *(Channel("gw", name, "kWh", 3, kind) for name, kind in STORE_CHANNELS.items()))
        for hour in range(4):
            span = (hour * HOUR_S + 60, (hour + 1) * HOUR_S)
            rig.store({m: steady(m, *span, 60) for m in METERS})
            rig.store({"charge": steady("m1", *span, 60, 24), "discharge": steady("m1", *span, 60, 12)})
            rig.store({"soc": [Reading(HOUR + s * 1000, s * 10_800 // HOUR_S) for s in range(*span, 60)]})
            rig.run()
        with rig.work.transaction():
            facts = rig.accountant._book.facts
            assert facts is not None
            start_ms = HOUR + HOUR_MS
            before = carry_before(rig.work, rig.site, start_ms)
            now_ms = HOUR + 4 * HOUR_MS
            known = OpenHours(rig.work, facts, start_ms, before)
            stored = list(account_hours(rig.work, facts, range(start_ms, now_ms, HOUR_MS), before, now_ms))
            opened = known.accounts(start_ms, before, now_ms - 1)
        assert [(a.net, a.carry, a.issues) for a in opened] == [(a.net, a.carry, a.issues) for a in stored]
        assert any(account.carry.stores["battery"] for account in stored)
        rig.assert_clean()
