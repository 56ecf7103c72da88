"""Plants that follow one another in a document: what comes, goes and comes back; found by the oracle, one case each."""

import json
from typing import Any

from plantprint import neutral
from plantprint.neutral.run import Accounts

Body = dict[str, Any]
KWH = 1_000_000


def named(name: str) -> Body:
    return {"id": name, "name": {"en": name}}


def meter(name: str) -> Body:
    return {**named(name), "unit": "kWh", "bindings": [{"channel": f"gw/{name}"}]}


def plant(*flows: tuple[str, str], **changes: Any) -> Body:
    """Every flow has a meter of its own, named for its ends."""
    return {
        "plantprint": 1,
        "site": named("s"),
        "bucket_s": 900,
        "work_centers": [{**named("line"), "work_units": [named("u")]}],
        "sources": [{**named("g"), "unit": "kWh", "kind": "grid", "factor": "f", "scope": 2}],
        "pools": [{**named(p), "unit": "kWh"} for p in ("bus", "ring") if any(p in flow for flow in flows)],
        "meters": [meter(f"{giver}-{taker}") for giver, taker in flows],
        "flows": [{"from": giver, "to": taker, "amount": f"{giver}-{taker}"} for giver, taker in flows],
        **changes,
    }


def accounts(models: dict[str, Body], rows: dict[str, list[list[str]]], *events: Body) -> Accounts:
    """Models by the hour from which they hold; registers in kWh, of 2026-01-01 until 04:00 UTC."""
    document = {
        "plantprint_facts": 1,
        "plants": [{"model": model, "effective_at": at(hour)} for hour, model in models.items()],
        "channels": [{"channel": f"gw/{name}", "unit": "kWh", "decimals": 3, "kind": "counter"} for name in rows],
        "readings": [{"channel": f"gw/{name}", "rows": told} for name, told in rows.items()],
        "events": [{"source": "mes", "event_id": f"e{n}", **event} for n, event in enumerate(events)],
        "until": at("04:00"),
    }
    return neutral.account_facts(neutral.parse_facts(json.dumps(document)))


def at(clock: str) -> str:
    return f"2026-01-01T{clock}:00Z"


def steadily(minute: int = 0) -> list[list[str]]:
    """A kWh a minute, read every five minutes from so many after the hour."""
    return [[at(f"{m // 60:02}:{m % 60:02}"), str(m)] for m in range(minute, 245 + minute, 5)]


def test_a_meter_that_comes_with_a_plant_counts_from_its_first_instant() -> None:
    """It is read at minutes 3, 8, …: the stretch over 02:00 begins in the hour before."""
    rows = {"g-bus": steadily(), "bus-u": steadily(3)}
    first, then = plant(("g", "u"), meters=[meter("g-bus")]), plant(("g", "bus"), ("bus", "u"))
    first["flows"][0]["amount"] = "g-bus"
    hours = accounts({"00:00": first, "02:00": then}, rows).hours
    told = hours[-2].meters["bus-u"]
    assert (int(told.amount.sum()), int(told.missing_ms.sum())) == (60 * KWH, 0)
    assert not [issue for hour in hours for issue in hour.issues if issue.place == "bus-u"]


def test_what_a_pool_held_stays_on_its_account_when_the_pool_goes_and_goes_on_when_it_is_back() -> None:
    """An hour flows into the ring and nothing out; it is out of the plant for an hour, and then flows to the machine."""
    into, out = ("100", "160", "160", "160", "160"), ("100", "100", "100", "100", "160")
    told = {"g-ring": into, "ring-u": out}
    rows = {name: [[at(f"{hour:02}:00"), value] for hour, value in enumerate(values)] for name, values in told.items()}
    rows["g-u"] = steadily()
    ring, none = plant(("g", "u"), ("g", "ring"), ("ring", "u")), plant(("g", "u"))
    hours = accounts({"00:00": ring, "02:00": none, "03:00": ring}, rows).hours[-4:]
    stock = [sum(amount for key, amount in hour.net.items() if key.account_kind == "stock") for hour in hours]
    assert stock == [60 * KWH, 0, 0, -60 * KWH]
    used = sum(amount for key, amount in hours[-1].net.items() if key.work_unit == "u")
    assert used == 120 * KWH


def test_what_waits_where_idle_windows_end_stays_idle_even_when_they_begin_again() -> None:
    """The first two hours wait for the shift's end at 04:00, until the third knows no windows; then only the last waits."""
    windows = {"idle": {"window": "shift", "starts": ["04:00", "20:00"]}}
    told, untold = plant(("g", "u"), **windows), plant(("g", "u"))
    job = {"job": "j", "batch": "b", "work_unit": "u"}
    runs = ({"kind": "job_start", "at": at("03:30"), "body": job}, {"kind": "job_end", "at": at("03:45"), "body": job})
    done = accounts({"00:00": told, "02:00": untold, "03:00": told}, {"g-u": steadily()}, *runs)
    of = {kind: sum(done.by_account[kind, name].values()) for kind, name in done.by_account}
    assert of == {"batch": 60 * KWH, "idle": 180 * KWH}
