"""Sentences of the allocation rules: each names the meters, the window, the driver and the rule that the model has."""

from fractions import Fraction
from typing import Any

import pytest
from accounting_cases import HOUR, make_graph

from plantprint.compare import Activity, Side, compare
from plantprint.explain import explain_accounts, explain_comparison
from plantprint.ledger import PostingKey
from plantprint.plant.graph import PlantGraph, compile_plant
from plantprint.plant.model import Plant
from plantprint.quantities import EMISSION_SCALE, MICRO

PLANT = make_graph(
    [
        ("grid", "bus", "main"),
        ("pv", "bus", "pv"),
        ("bus", "steam", "fan"),
        ("gas", "steam", "gas"),
        ("bus", "a", "m-a"),
        ("bus", "export", "out"),
        ("bus", "b", "rest", 1),
        ("bus", "c", "rest", 3),
        ("steam", "a", "s-a"),
        ("steam", "losses", "s-out - s-a"),
    ],
    pools={"bus": "conserving bucket", "steam": "converting"},
    sources={"grid": "grid", "pv": "on_site", "gas": "fuel"},
    units={"gas": "Nm3", "steam": "kg"},
    work_units=["a", "b", "c"],
    rules={"dye": "equal", "dry": "exclusive"},
    bucket_s=60,
)


def told(
    kind: str, account: str, unit: str = "", step: str = "", *sources: str, graph: PlantGraph = PLANT
) -> list[str]:
    net = {PostingKey(HOUR, kind, account, unit, step, source, HOUR, 3): 1 for source in sources or ("grid",)}
    (sentences,) = explain_accounts(graph, net).values()
    assert all(one.zh and one.zh != one.en for one in sentences)
    return [one.en for one in sentences]


def test_a_batch_is_told_from_its_machines_back_to_the_sources() -> None:
    sentences = told("batch", "B1", "a", "dye", "grid", "pv", "gas")
    assert sentences == [
        "a takes from bus what m-a [m-a] measured.",
        "a takes from steam what s-a [s-a] measured.",
        "Jobs that run at once on a share equally.",
        "On a setup counts for the next job and clean-down for the previous one of the same hour.",
        "What a uses while idle stays on account idle.",
        (
            "What comes into steam (bus by fan [fan], gas by gas [gas]) is divided hour by hour over all that goes out, "
            "in proportion to the kg that went."
        ),
        "steam converts: what it loses on the way is carried by its output.",
        "s-out [s-out] - s-a [s-a] is lost by steam and stays on its account.",
        (
            "What comes into bus (grid by main [main], pv by pv [pv]) is divided in every 60 s over all that goes out, "
            "in proportion to the kWh that went."
        ),
        "Export (out [out]) is taken first from on-site generation (pv) of the window.",
    ]


def test_a_rest_says_its_part_and_steam_is_not_told_where_none_came() -> None:
    sentences = told("batch", "B1", "c", "dry")
    assert "c takes 3/4 of what the meters leave of bus." in sentences
    assert "Only one job may run on c; what two claim is on account conflict." in sentences
    assert not any("steam" in one for one in sentences)


@pytest.mark.parametrize(
    ("kind", "account", "words"),
    [
        ("idle", "a", "What a used while idle, on standby, in fault, off, or without a job."),
        ("unassigned", "a", "What a used while processing without a reported job."),
        ("conflict", "a", "What a used while two jobs claimed an exclusive step."),
        ("overhead", "a", "Idle use of a that no job of its window could carry."),
    ],
)
def test_what_belongs_to_no_batch_says_why(kind: str, account: str, words: str) -> None:
    assert told(kind, account, "a", "dye")[0] == words


@pytest.mark.parametrize(
    ("kind", "pool", "words"),
    [
        ("losses", "steam", "Losses of steam: what came out of it and reached no taker."),
        ("export", "bus", "What left the site from bus."),
        ("unmetered", "bus", "What left bus and no meter further on has seen."),
        ("stock", "bus", "What came into bus and has not gone out yet."),
    ],
)
def test_what_ends_at_a_pool_tells_the_pool(kind: str, pool: str, words: str) -> None:
    sentences = told(kind, pool)
    assert sentences[0] == words
    assert any(one.startswith(f"What comes into {pool}") for one in sentences)


def test_pools_that_feed_each_other_are_told_as_one() -> None:
    graph = make_graph(
        [("grid", "p", "main"), ("p", "q", "pq"), ("q", "p", "qp"), ("q", "a", "m-a"), ("p", "unmetered", "rest")],
        pools={"p": "conserving", "q": "conserving"},
        work_units=["a"],
    )
    sentences = told("batch", "B", "a", "", graph=graph)
    assert (
        "p, q feed each other: their inflow is divided once over what leaves them, by the exact solution." in sentences
    )
    assert "What the meters leave of p over the hour is unmetered and stays on its account." in sentences


def test_chinese_sentences_use_chinese_names() -> None:
    net = {PostingKey(HOUR, "batch", "B1", "a", "dye", "grid", HOUR, 3): 1}
    (sentences,) = explain_accounts(PLANT, net).values()
    assert sentences[0].zh == "a取自bus的量按m-a[m-a]计量。"
    assert "a上同时进行的作业平均分摊。" in [one.zh for one in sentences]


def test_a_work_unit_that_the_model_no_longer_has_is_left_out() -> None:
    assert told("idle", "gone", "gone", "dye") == [
        "What gone used while idle, on standby, in fault, off, or without a job."
    ]


def _model(**sections: object) -> PlantGraph:
    """The plant above with other sections in its file."""
    return compile_plant(Plant.model_validate(PLANT.plant.model_dump(mode="json", by_alias=True) | sections))


def _section(name: str) -> list[dict[str, Any]]:
    section: list[dict[str, Any]] = PLANT.plant.model_dump(mode="json", by_alias=True)[name]
    return section


def test_idle_windows_and_inferred_states_are_told() -> None:
    graph = _model(idle={"window": "shift", "starts": ["06:00", "18:00"], "driver": "mass"})
    sentences = told("batch", "B1", "a", "dye", graph=graph)
    assert "On a setup counts for the next job and clean-down for the previous one of the same shift." in sentences
    assert (
        "What a uses while idle goes to the jobs of its shift when that has ended, by the mass of the jobs."
        in sentences
    )
    centers = _section("work_centers")
    centers[0]["work_units"][0]["infer_state"] = {"meter": "m-a", "processing_kw": "50", "idle_kw": "2.5"}
    sentences = told("idle", "a", "a", "dye", graph=_model(work_centers=centers))
    assert "Without a reported state a counts as processing from 50 kW on m-a [m-a], as idle from 2.5 kW." in sentences


def test_what_becomes_of_a_residual_is_told() -> None:
    flows = _section("flows")
    flows[-1] |= {"disposition": "consumers"}
    sentences = told("batch", "B1", "a", "dye", "gas", graph=_model(flows=flows))
    assert "s-out [s-out] - s-a [s-a] is lost by steam and is carried by the other takers." in sentences
    flows[-1] |= {"disposition": "outside", "reason": "steam of the canteen"}
    sentences = told("losses", "steam", graph=_model(flows=flows))
    assert "s-out [s-out] - s-a [s-a] is lost by steam and is exempted: steam of the canteen." in sentences


def test_a_battery_is_told_where_it_feeds_the_account() -> None:
    flows, meters = _section("flows"), _section("meters")
    flows += [{"from": "bus", "to": "battery", "amount": "b-in"}, {"from": "battery", "to": "bus", "amount": "b-out"}]
    for name in ("b-in", "b-out", "soc"):
        meters.append(meters[0] | {"id": name, "name": {"en": name}, "bindings": [{"channel": f"gw/{name}"}]})
    store = {"id": "battery", "name": {"en": "Battery", "zh": "电池"}, "unit": "kWh", "level": "soc"}
    sentences = told("batch", "B1", "c", "dry", graph=_model(flows=flows, meters=meters, stores=[store]))
    assert "Battery gives out in an hour what it held at its start, the oldest hour first." in sentences
    assert "Its level is metered by soc [soc]; what is less than the balance was lost." in sentences
    assert any("Battery by b-out [b-out]" in one for one in sentences)


def test_products_of_a_chp_and_drivers_of_a_rest_are_told() -> None:
    flows, pools = _section("flows"), _section("pools")
    pools[1] |= {
        "kind": "chp",
        "method": "energy",
        "products": [{"id": "heat", "unit": "kg", "kwh_per_unit": "0.7"}, {"id": "power", "unit": "kWh"}],
    }
    for flow in flows:
        if flow["from"] == "steam":
            flow["product"] = "heat"
        if flow["amount"] == "rest":
            flow["driver"] = "running_time"
    meters = _section("meters")
    meters.append(meters[0] | {"id": "p-a", "name": {"en": "p-a"}, "bindings": [{"channel": "gw/p-a"}]})
    flows.append({"from": "steam", "to": "b", "amount": "p-a", "product": "power"})
    graph = _model(flows=flows, pools=pools, meters=meters)
    assert "The products of steam share its inputs by energy: a unit weighs heat 7, power 10." in told(
        "batch", "B1", "a", "dye", "gas", graph=graph
    )
    assert "c takes a part by the running time behind each taker (weight 3/4) of what the meters leave of bus." in told(
        "batch", "B1", "c", "dry", graph=graph
    )


def test_a_comparison_is_told_largest_effect_first() -> None:
    before = Side((Activity("dye", "grid", "kWh", 1000 * MICRO, {"2": 500 * EMISSION_SCALE}),))
    after = Side(
        (
            Activity("dye", "grid", "kWh", 700 * MICRO, {"2": 350 * EMISSION_SCALE}),
            Activity("dye", "pv", "kWh", 300 * MICRO, {"3": 15 * EMISSION_SCALE}),
        )
    )
    found = compare(before, after)
    assert [one.en for one in explain_comparison(PLANT, found)] == [
        "The footprint went from 500 to 365 kg CO2e (-135).",
        "-150 kg CO2e: grid in dye, because its part of the mix changed.",
        "+15 kg CO2e: pv in dye, because its part of the mix changed.",
    ]
    assert len(explain_comparison(PLANT, found, most=1)) == 2
    assert found.difference == Fraction(-135)
