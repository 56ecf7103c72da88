"""Rules of idle windows, inferred states, drivers and dispositions in a plant file: each one that is broken says so."""

from typing import Any

import pytest

from plantprint.plant.check import check_plant
from plantprint.plant.load import inspect_plant
from plantprint.plant.model import Plant

DAY = {"window": "day"}


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}, **more}


def plant(rest: dict[str, Any] | None = None, unit: dict[str, Any] | None = None, **more: Any) -> list[tuple[str, str]]:
    """(path, message) of every error of a plant whose bus gives its rest as `rest` says."""
    gives = {"from": "bus", "to": "unmetered", "amount": "rest", **(rest or {})}
    body = {
        "plantprint": 1,
        "site": named("site"),
        "work_centers": [named("line", work_units=[named("u-1", **(unit or {})), named("u-2")])],
        "sources": [named("grid", unit="kWh", kind="grid", factor="f", scope=2)],
        "meters": [
            named(meter, unit=unit_, bindings=[{"channel": f"gw/{meter}"}])
            for meter, unit_ in (("m-in", "kWh"), ("m-1", "kWh"), ("m-2", "kWh"), ("m-gas", "Nm3"))
        ],
        "pools": [named("bus", unit="kWh")],
        "flows": [
            {"from": "grid", "to": "bus", "amount": "m-in"},
            {"from": "bus", "to": "u-1", "amount": "m-1"},
            gives,
        ],
        **more,
    }
    issues = check_plant(Plant.model_validate(body))
    return [(issue.path, issue.message) for issue in issues if issue.severity == "error"]


def rule(**more: Any) -> dict[str, Any]:
    return {"infer_state": {"meter": "m-1", "processing_kw": 8, "idle_kw": 2, **more}}


BROKEN: list[tuple[dict[str, Any], str, str]] = [
    ({"site": named("s", timezone="Asia/Shangai")}, "site.timezone", "no time zone 'Asia/Shangai'"),
    ({"idle": {"window": "day", "starts": ["06:00", "14:00"]}}, "idle.starts", "a day has one start, not 2"),
    ({"idle": {"window": "week", "starts": ["06:00", "14:00"]}}, "idle.starts", "a week has one start"),
    (
        {"unit": {"idle": {"window": "shift", "starts": ["06:00", "06:00"]}}},
        "work_centers.0.work_units.0.idle",
        "twice",
    ),
    ({"unit": rule(meter="m-9")}, "infer_state.meter", "there is no meter 'm-9'"),
    ({"unit": rule(meter="m-gas")}, "infer_state.meter", "counts Nm3"),
    ({"unit": rule(idle_kw=8)}, "infer_state.idle_kw", "not below processing_kw"),
    ({"unit": rule(mean_over_s=70)}, "infer_state.mean_over_s", "no multiple of bucket_s"),
    ({"rest": {"to": "u-2", "amount": "m-2", "driver": "mass"}}, "flows.2.driver", "this flow has an amount"),
    ({"rest": {"driver": "running_time"}}, "flows.2.driver", "no work unit is behind 'unmetered'"),
    ({"rest": {"to": "u-2", "disposition": "window"}}, "flows.2.disposition", "has no disposition"),
    ({"rest": {"disposition": "outside"}}, "flows.2.disposition", "nobody says why"),
    ({"rest": {"disposition": "consumers", "reason": "x"}, "idle": DAY}, "flows.2.reason", "only disposition: outside"),
    ({"rest": {"disposition": "window"}}, "flows.2.disposition", "no window whose jobs could take it"),
    ({"rest": {"disposition": "window"}, "idle": {"window": "none"}}, "flows.2.disposition", "no window"),
]


@pytest.mark.parametrize(("changes", "path", "message"), BROKEN)
def test_a_broken_rule_is_named(changes: dict[str, Any], path: str, message: str) -> None:
    assert [(p, m) for p, m in plant(**changes) if path in p and message in m], plant(**changes)


def test_several_drivers_for_one_rest_and_nobody_to_carry_it() -> None:
    flows = [
        {"from": "grid", "to": "bus", "amount": "m-in"},
        {"from": "bus", "to": "u-1", "amount": "rest", "driver": "mass"},
        {"from": "bus", "to": "u-2", "amount": "rest"},
    ]
    assert [path for path, message in plant(flows=flows) if "several drivers: fixed, mass" in message] == [
        "flows.1.driver", "flows.2.driver",
    ]  # fmt: skip
    flows = [
        {"from": "grid", "to": "bus", "amount": "m-in"},
        {"from": "bus", "to": "losses", "amount": "rest", "disposition": "consumers"},
    ]
    assert any("gives to nothing else" in message for _, message in plant(flows=flows))


def test_sound_rules_are_sound() -> None:
    shifts = {"window": "shift", "starts": ["06:00", "14:00", "22:00"]}
    assert plant(rest={"disposition": "window"}, unit=rule(), idle=shifts) == []
    assert plant(rest={"disposition": "outside", "reason": "the canteen"}) == []


def test_times_without_quotes_are_times() -> None:
    """YAML 1.1 reads 14:30 as 870."""
    text = "idle: {window: shift, starts: [06:00, 14:30, 22:00]}\n"
    issues = inspect_plant(text).issues
    assert not [issue for issue in issues if issue.path.startswith("idle")]
    wrong = inspect_plant("idle: {window: shift, starts: [06:00, 24:30]}\n").issues
    assert [issue.line for issue in wrong if issue.path.startswith("idle")] == [1]
