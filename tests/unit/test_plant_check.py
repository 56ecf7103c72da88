"""Meaning across a plant file: what is wrong between its nouns, each with its path."""

from collections.abc import Mapping
from typing import Any

import pytest

from plantprint.plant.check import PlantError, check_plant, parse_amount
from plantprint.plant.graph import compile_plant
from plantprint.plant.model import Plant


def named(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": {"en": name}, **more}


def source(name: str, unit: str = "kWh") -> dict[str, Any]:
    return named(name, unit=unit, kind="grid", factor="f", scope=2)


def meter(name: str, unit: str = "kWh", **binding: str) -> dict[str, Any]:
    return named(name, unit=unit, bindings=[{"channel": f"gw/{name}", **binding}])


def flow(giver: str, taker: str, amount: str, weight: int = 1) -> dict[str, Any]:
    return {"from": giver, "to": taker, "amount": amount, "weight": weight}


def body(**changes: Any) -> dict[str, Any]:
    """A sound plant of one line, one bus and two work units, with top-level parts replaced."""
    sound: dict[str, Any] = {
        "plantprint": 1,
        "site": named("site"),
        "steps": [named("dyeing")],
        "work_centers": [named("line", work_units=[named("u-1", step="dyeing"), named("u-2")])],
        "sources": [source("grid")],
        "meters": [meter("m-in"), meter("m-1"), meter("m-2")],
        "pools": [named("bus", unit="kWh")],
        "flows": [
            flow("grid", "bus", "m-in"),
            flow("bus", "u-1", "m-1"),
            flow("bus", "u-2", "m-2"),
            flow("bus", "unmetered", "rest"),
        ],
    }
    return {**sound, **changes}


FLOWS = body()["flows"]
METERS = body()["meters"]
BUS = named("bus", unit="kWh")


def found(changes: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    return [(i.severity, i.path, i.message) for i in check_plant(Plant.model_validate(body(**changes)))]


def test_the_sound_plant_is_sound() -> None:
    assert found({}) == []


ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "bucket": ({"bucket_s": 7}, "bucket_s", "7 s do not divide an hour"),
    "naive time": ({"effective_at": "2026-01-01T00:00:00"}, "effective_at", "no offset"),
    "not an hour": ({"effective_at": "2026-01-01T00:00:30Z"}, "effective_at", "full hour"),
    "unit": ({"sources": [source("grid", "kwh")]}, "sources.0.unit", "'kwh' is not a known unit"),
    "rate": ({"pools": [named("bus", unit="kW")]}, "pools.0.unit", "'kW' is a rate"),
    "id twice": ({"pools": [BUS, BUS]}, "pools.1.id", "used twice, first at pools.0.id"),
    "id across kinds": ({"sources": [source("bus"), source("grid")]}, "pools.0.id", "first at sources.0.id"),
    "meter twice": ({"meters": [*METERS, meter("m-1")]}, "meters.3.id", "used twice"),
    "reserved": ({"pools": [BUS, named("losses", unit="kWh")]}, "pools.1.id", "'losses' is reserved"),
    "reserved meter": ({"meters": [*METERS, meter("rest")]}, "meters.3.id", "'rest' is reserved"),
    "step": ({"steps": []}, "work_centers.0.work_units.0.step", "no step 'dyeing'"),
    "binding ends early": (
        {"meters": [*METERS, meter("m-3", valid_from="2026-01-02T00:00Z", valid_to="2026-01-01T00:00Z")]},
        "meters.3.bindings.0.valid_to",
        "ends before it starts",
    ),
    "binding inside a bucket": (
        {"meters": [*METERS, meter("m-3", valid_from="2026-01-02T00:10:30Z")]},
        "meters.3.bindings.0.valid_from",
        "edge of a bucket of 60 s",
    ),
    "power of itself": (
        {
            "meters": [
                *METERS,
                named("m-3", unit="kWh", resolution=1, bindings=[{"channel": "gw/e", "power": "gw/e"}]),
            ]
        },
        "meters.3.bindings.0.power",
        "cannot be the power of itself",
    ),
    "channel bound twice": (
        {"meters": [*METERS, named("m-3", unit="kWh", bindings=[{"channel": "gw/m-1"}])]},
        "meters.3.bindings.0.channel",
        "bound twice at the same time, to 'm-1' and 'm-3'",
    ),
    "two channels at once": (
        {"meters": [*METERS, named("m-3", unit="kWh", bindings=[{"channel": "gw/a"}, {"channel": "gw/b"}])]},
        "meters.3.bindings.1",
        "gw/a and gw/b feed meter 'm-3' at the same time",
    ),
    "giver": ({"flows": [*FLOWS, flow("bux", "u-1", "m-1")]}, "flows.4.from", "no source or pool 'bux'"),
    "taker": ({"flows": [*FLOWS, flow("bus", "u-9", "m-1")]}, "flows.4.to", "no pool or work unit 'u-9'"),
    "unit gives": ({"flows": [*FLOWS, flow("u-1", "bus", "m-1")]}, "flows.4.from", "'u-1' cannot give"),
    "losses give": ({"flows": [*FLOWS, flow("losses", "u-1", "m-1")]}, "flows.4.from", "'losses' cannot give"),
    "to itself": ({"flows": [*FLOWS, flow("bus", "bus", "m-1")]}, "flows.4.to", "gives to itself"),
    "source takes": ({"flows": [*FLOWS, flow("bus", "grid", "m-1")]}, "flows.4.to", "source 'grid' cannot take"),
    "source exports": ({"flows": [*FLOWS, flow("grid", "export", "m-1")]}, "flows.4.to", "only a pool can give"),
    "same flow twice": ({"flows": [*FLOWS, flow("bus", "u-1", "m-2")]}, "flows.4", "another flow from 'bus' to 'u-1'"),
    "unknown meter": ({"flows": [flow("grid", "bus", "m-in + m-x"), *FLOWS[1:]]}, "flows.0.amount", "no meter 'm-x'"),
    "rest of a source": ({"flows": [*FLOWS, flow("grid", "u-1", "rest")]}, "flows.4.amount", "no inflow"),
    "meter in other unit": (
        {"meters": [*METERS[:2], meter("m-2", "MWh")]},
        "flows.2.amount",
        "meter 'm-2' counts MWh, but 'bus' gives kWh",
    ),
    "conserving changes unit": (
        {"sources": [source("grid", "Nm3")], "meters": [meter("m-in", "Nm3"), *METERS[1:]]},
        "flows.0.to",
        "pool 'bus' passes on kWh as it gets it, but 'grid' gives Nm3",
    ),
    "rest of a converting pool": (
        {"pools": [named("bus", unit="kWh", kind="converting")]},
        "flows.3.amount",
        "its output is not its input",
    ),
    "rest in a circle": (
        {
            "pools": [BUS, named("b2", unit="kWh")],
            "flows": [*FLOWS[:3], flow("bus", "b2", "rest"), flow("b2", "bus", "m-2")],
        },
        "flows.3.amount",
        "the rest of 'bus' comes back to it through 'b2'",
    ),
    "pool without inflow": (
        {"pools": [BUS, named("b2", unit="kWh")], "flows": [*FLOWS, flow("b2", "unmetered", "rest")]},
        "pools.1",
        "nothing that enters the site comes to pool 'b2'",
    ),
    "pool without way out": (
        {"pools": [BUS, named("b2", unit="kWh")], "flows": [*FLOWS, flow("bus", "b2", "m-2")]},
        "pools.1",
        "can ever flow out",
    ),
    "circle without way out": (
        {
            "pools": [BUS, named("b2", unit="kWh"), named("b3", unit="kWh")],
            "flows": [*FLOWS, flow("bus", "b2", "m-2"), flow("b2", "b3", "m-1"), flow("b3", "b2", "m-2")],
        },
        "pools.2",
        "it only flows in a circle",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_names_its_place(name: str) -> None:
    changes, path, message = ERRORS[name]
    errors = [(where, what) for severity, where, what in found(changes) if severity == "error"]
    assert any(where == path and message in what for where, what in errors), errors


EXCHANGED = [
    {"channel": "gw/old", "valid_to": "2026-01-01T00:10Z"},
    {"channel": "gw/new", "valid_from": "2026-01-01T00:20Z"},
]
RATIOS = [
    {"channel": "gw/in", "ratio": "10", "valid_to": "2026-01-01T00:10Z"},
    {"channel": "gw/in", "ratio": "20", "valid_from": "2026-01-01T00:10Z"},
]
WARNINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "idle source": ({"sources": [source("grid"), source("pv")]}, "sources.1", "nothing flows from source 'pv'"),
    "idle meter": ({"meters": [*METERS, meter("m-3")]}, "meters.3", "no flow uses meter 'm-3'"),
    "idle unit": (
        {"flows": [FLOWS[0], FLOWS[1], FLOWS[3]], "meters": METERS[:2]},
        "work_centers.0.work_units.1",
        "work unit 'u-2' can never receive anything",
    ),
    "time that no binding covers": (
        {"meters": [named("m-in", unit="kWh", bindings=EXCHANGED), *METERS[1:]]},
        "meters.0.bindings.1",
        "nothing feeds meter 'm-in' from 2026-01-01T00:10:00Z to 2026-01-01T00:20:00Z",
    ),
    "wrap under two ratios": (
        {"meters": [named("m-in", unit="kWh", wrap="1000000", bindings=RATIOS), *METERS[1:]]},
        "meters.0.wrap",
        "wrap 1000000 kWh under the ratios 10 and 20 says that the register ends at 100000 and 50000",
    ),
    "no rest": ({"flows": FLOWS[:3]}, "pools.0", "no flow that takes its rest"),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_warning_does_not_stop_the_plant(name: str) -> None:
    changes, path, message = WARNINGS[name]
    ((severity, where, what),) = found(changes)
    assert (severity, where) == ("warning", path)
    assert message in what
    compile_plant(Plant.model_validate(body(**changes)))


def test_channel_may_move_from_one_meter_to_another() -> None:
    old = meter("m-1", valid_to="2026-01-01T00:00Z")
    new = named("m-3", unit="kWh", bindings=[{"channel": "gw/m-1", "valid_from": "2026-01-01T00:00Z"}])
    errors = [issue for issue in found({"meters": [METERS[0], old, METERS[2], new]}) if issue[0] == "error"]
    assert errors == []


def test_compiling_tells_every_error() -> None:
    with pytest.raises(PlantError) as caught:
        compile_plant(Plant.model_validate(body(bucket_s=7, steps=[], flows=[*FLOWS, flow("bux", "u-9", "m-9")])))
    assert len(caught.value.issues) == 5


IDS = {"m1", "m2", "m-l1-dye", "m-l1"}


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("m1", ((1, "m1"),)),
        ("m1 + m2 - m-l1-dye", ((1, "m1"), (1, "m2"), (-1, "m-l1-dye"))),
        ("m-l1-dye - m-l1", ((1, "m-l1-dye"), (-1, "m-l1"))),
        (" rest ", ()),
    ],
)
def test_amounts_parse(text: str, terms: tuple[tuple[int, str], ...]) -> None:
    assert parse_amount(text, IDS) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m1 +", "is not a sum of meters"),
        ("m1 m2", "is not a sum of meters"),
        ("- m1", "is not a sum of meters"),
        ("", "is not a sum of meters"),
        ("m1 - -", "no meter '-'"),
        ("m1-m2", "no meter 'm1-m2' \\(an operator needs spaces"),
        ("m1 + rest", "no meter 'rest'"),
        ("m1 - m1", "names a meter twice"),
    ],
)
def test_amounts_that_do_not_parse_say_why(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_amount(text, IDS)
