"""What happens exactly at an edge: clean-down as a window begins, and this hour's roof before last hour's at an export."""

from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS, job, make_graph, meter_hours, production
from oracle.oracle_compare import assert_agrees, product_hours

from plantprint.activities import Activity
from plantprint.facts import ProductionEvent
from plantprint.flows import hour_flows
from plantprint.production import Facts
from plantprint.settlement import batch_closes_ms, reaches_back_ms
from plantprint.tracing import trace

HOURS = ("2026-06-10T00:00:00Z", "2026-06-10T01:00:00Z", "2026-06-10T02:00:00Z")


def named(name: str) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}}


def document(
    flows: dict[tuple[str, str], tuple[str, str]], events: list[dict[str, Any]], **model: Any
) -> dict[str, Any]:
    """Two hours of flows, each with what it metered in both, from kWh sources `grid` and `pv`, on the bus `bus`."""
    meters = {pair: f"m-{pair[0]}-{pair[1]}" for pair in flows}
    sources = {pair[0] for pair in flows} & {"grid", "pv"}
    kinds = {"grid": "grid", "pv": "on_site"}
    body = {
        "plantprint": 1,
        "site": named("site"),
        "bucket_s": 900,
        "work_centers": [{**named("line"), "work_units": [named("u")]}],
        "sources": [
            {**named(s), "unit": "kWh", "kind": kinds[s], "factor": f"own.{s}", "scope": 2} for s in sorted(sources)
        ],
        "meters": [{**named(m), "unit": "kWh", "bindings": [{"channel": f"gw/{m}"}]} for m in meters.values()],
        "flows": [{"from": giver, "to": taker, "amount": m} for (giver, taker), m in meters.items()],
        **model,
    }
    return {
        "plantprint_facts": 1,
        "plants": [{"model": body}],
        "channels": [
            {"channel": f"gw/{m}", "unit": "kWh", "decimals": 0, "kind": "amount", "period_s": 3600}
            for m in meters.values()
        ],
        "readings": [
            {"channel": f"gw/{meters[pair]}", "rows": [list(row) for row in zip(HOURS[1:], told, strict=True)]}
            for pair, told in flows.items()
        ],
        "events": [{"source": "mes", "event_id": str(n), **event} for n, event in enumerate(events)],
        "until": HOURS[2],
    }


@pytest.mark.parametrize(("ends", "account"), [("01:00:00Z", "batch"), ("00:59:59.999Z", "idle")])
def test_a_job_that_ended_as_its_window_began_is_cleaned_up_after_in_the_new_window(ends: str, account: str) -> None:
    body = {"job": "j", "batch": "b", "work_unit": "u"}
    events = [
        {"kind": "job_start", "at": HOURS[0], "body": body},
        {"kind": "job_end", "at": f"2026-06-10T{ends}", "body": {"job": "j"}},
        {"kind": "state", "at": HOURS[1], "body": {"work_unit": "u", "state": "clean-down"}},
    ]
    facts = document({("grid", "u"): ("8", "4")}, events, idle={"window": "shift", "starts": ["01:00", "13:00"]})
    found = {(key.account_kind, key.portion): amount for key, amount in product_hours(facts)[-1].net.items()}
    assert found == {(account, "direct"): 4_000_000}
    assert_agrees(facts)


def test_an_export_takes_this_hours_roof_before_what_the_battery_held_of_it() -> None:
    flows = {
        ("pv", "bus"): ("10", "10"),
        ("bus", "battery"): ("10", "0"),
        ("battery", "bus"): ("0", "10"),
        ("bus", "export"): ("0", "10"),
        ("bus", "u"): ("0", "10"),
    }
    bus, battery = {**named("bus"), "unit": "kWh"}, {**named("battery"), "unit": "kWh"}
    facts = document(flows, [], pools=[bus], stores=[battery])
    hours = product_hours(facts)
    found = {(key.account_kind, key.entered_ms): amount for key, amount in hours[-1].net.items()}
    assert found == {
        ("export", hours[1].hour_ms): 10_000_000,
        ("idle", hours[0].hour_ms): 10_000_000,
        ("stock", hours[0].hour_ms): -10_000_000,
    }
    assert_agrees(facts)


@pytest.mark.parametrize(("from_min", "waits"), [(30, False), (29, True)])
def test_an_activity_that_begins_as_a_job_ends_does_not_hold_its_batch_open(from_min: int, *, waits: bool) -> None:
    plain = make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"plant": {"batch_rests_s_max": 0}})
    made = production(job("a", "u1", 10, 30))
    span = (HOUR + from_min * 60_000, HOUR + 10 * HOUR_MS)
    later = made.changed(Facts(), Facts(activities=[Activity(*span, "grid", "u1", 1, "mes", "1")]))
    assert batch_closes_ms(plain, made, "b-a") == HOUR + HOUR_MS
    assert batch_closes_ms(plain, later, "b-a") == (span[1] if waits else HOUR + HOUR_MS)


def test_a_late_order_reaches_back_to_its_batchs_jobs_only_where_quantities_divide() -> None:
    order = ProductionEvent("mes", "1", 0, "order", HOUR + 30 * HOUR_MS, {"batch": "b-a", "quantity": "5"})
    late = (order.at_ms, order.at_ms)
    made = production(job("a", "u1", 10, 20))
    for driver, since_ms in (("mass", HOUR + 10 * 60_000), ("processing_time", HOUR + 24 * HOUR_MS)):
        idle = {"idle": {"window": "shift", "starts": ["00:00", "08:00", "16:00"], "driver": driver}}
        graph = make_graph([("grid", "u1", "m1")], work_units=["u1"], more={"plant": idle})
        assert reaches_back_ms(graph, made, [order], late) == since_ms


@pytest.mark.parametrize(("at", "after", "quality"), [(3, 1, 3), (1, 3, 1)])
def test_a_loss_is_as_well_known_as_the_level_that_tells_it_at_the_hours_very_end(
    at: int, after: int, quality: int
) -> None:
    """A reading right at the end needs none after it."""
    pool, tank = {**named("bus"), "unit": "kWh"}, {**named("tank"), "unit": "kWh", "level": "m-level"}
    flows = {("grid", "bus"): ("10", "0"), ("bus", "tank"): ("10", "0"), ("tank", "u"): ("0", "0")}
    facts = document(flows, [], pools=[pool], stores=[tank])
    level = {**named("m-level"), "unit": "kWh", "bindings": [{"channel": "gw/level"}], "max_gap_s": 3600}
    facts["plants"][0]["model"]["meters"].append(level)
    facts["channels"].append({"channel": "gw/level", "unit": "kWh", "decimals": 0, "kind": "gauge"})
    names = {1: "estimated", 3: "measured"}
    for quality_of, row in ((3, [HOURS[0], "0"]), (at, [HOURS[1], "4"]), (after, ["2026-06-10T01:30:00Z", "4"])):
        facts["readings"].append({"channel": "gw/level", "quality": names[quality_of], "rows": [row]})
    lost = [
        (key.quality, amount) for key, amount in product_hours(facts)[1].net.items() if key.account_kind == "losses"
    ]
    assert lost == [(quality, 6_000_000)]
    assert_agrees(facts)


@pytest.mark.parametrize("several", [(1, 3), (3, 1)])
def test_what_is_held_in_two_qualities_leaves_in_the_worse(several: tuple[int, int]) -> None:
    graph = make_graph(
        [("grid", "bus", "m-grid"), ("bus", "u1", "m-u")], pools={"bus": "conserving"}, work_units=["u1"]
    )
    flows = hour_flows(graph, meter_hours(graph, {"m-u": [0, 7, 0, 0]}), HOUR)
    held = tuple(("grid", HOUR - HOUR_MS, quality, 10) for quality in several)
    found = trace(graph, flows, {"bus": held}, HOUR)
    row, edge = found.rows.index(("grid", HOUR - HOUR_MS)), next(e.index for e in graph.edges if e.taker == "u1")
    assert (found.parcels.amount[edge, row].tolist(), int(found.parcels.quality[edge, row, 1])) == ([0, 20, 0, 0], 1)
