"""Random documents for genealogy: a few machines, and lots that are bought, split, merged, worked again, sold, given back."""

import random
from typing import Any

from hypothesis import strategies as st
from oracle.oracle_feeds import seeded
from oracle.oracle_happenings import untidy
from oracle.oracle_numbers import HOUR_MS
from oracle.oracle_pen import Document
from oracle.oracle_time import instant

from plantprint.times import format_instant

Body = dict[str, Any]
START_MS = instant("2026-03-28T23:00:00Z")
BATCHES, BOUGHT, SOLD = ("b0", "b1", "b2", "b3"), ("l1", "l2"), ("c1", "c2")
MATERIALS = ("salt", "dye", "gold")


@st.composite
def trades(draw: st.DrawFn) -> Body:
    """Two hours of three metered sources on two machines, and up to twenty events of genealogy known at several times."""
    chance = seeded(draw(st.integers(0, 2**40)))
    model = _model(chance)
    channels: list[Body] = []
    readings: list[Body] = []
    for meter in model["meters"]:
        channel = meter["bindings"][0]["channel"]
        channels.append({"channel": channel, "unit": meter["unit"], "decimals": 3, "kind": "amount", "period_s": 3600})
        values = [f"{chance.randrange(10**6) / 1000:.3f}" for _ in range(2)]
        rows = [[format_instant(START_MS + (n + 1) * HOUR_MS), value] for n, value in enumerate(values)]
        readings.append({"channel": channel, "rows": rows})
    events = [*_jobs(chance), *_trade(chance), *_certificates(chance)]
    events = [{"source": "mes", "event_id": f"e{n}", "revision": 1, **event} for n, event in enumerate(events)]
    told = [dict(event) for event in untidy(chance, events)]
    for event in told:
        if (
            event["kind"] == "lot"
        ):  # Of a lot that is declared twice the last in order of time counts: never two at once.
            event["at"] = format_instant(instant(event["at"]) + int(event["event_id"][1:]))
        event["known_at"] = format_instant(START_MS + chance.randrange(4) * HOUR_MS)
    return Document(
        plantprint_facts=1,
        plants=[{"model": model}],
        channels=channels,
        readings=readings,
        events=told,
        factors=_factors(chance),
        factor_series=_series(chance),
        until=format_instant(START_MS + 2 * HOUR_MS),
    )


def _model(chance: random.Random) -> Body:
    sources = {
        "gas": ("Nm3", "fuel", 1, "own.gas"),
        "grid": ("kWh", "grid", 2, chance.choice(("own.grid", "own.hours"))),
        "stack": ("kg", "direct", 1, "own.stack"),
    }
    flows = [(source, unit) for source in sources for unit in ("u1", "u2") if chance.randrange(4)] or [("grid", "u1")]
    used = {source for source, _ in flows}
    units = [{**_named(unit), "step": step} for unit, step in (("u1", "dye"), ("u2", "wash"))]
    return {
        "plantprint": 1,
        "site": _named("site"),
        "bucket_s": 1800,
        "steps": [{**_named("dye"), "rule": "weight"}, {**_named("wash"), "rule": "equal"}],
        "work_centers": [{**_named("line"), "work_units": units}],
        "sources": [
            {**_named(source), "unit": unit, "kind": kind, "scope": scope, "factor": factor}
            for source, (unit, kind, scope, factor) in sources.items()
            if source in used
        ],
        "meters": [
            {**_named(f"m-{s}-{u}"), "unit": sources[s][0], "bindings": [{"channel": f"gw/{s}-{u}"}]} for s, u in flows
        ],
        "flows": [{"from": s, "to": u, "amount": f"m-{s}-{u}"} for s, u in flows],
        "materials": [
            {**_named("salt"), "unit": "kg", "factor": "own.salt"},
            {**_named("dye"), "unit": chance.choice(("kg", "t")), "factor": "own.dye"},
            {**_named("gold"), "unit": "kg"},
        ],
        "product_rules": chance.choice(("iso-14067", "pact-v3")),
        **({"market": _market(chance)} if "grid" in used and chance.randrange(2) else {}),
    }


def _market(chance: random.Random) -> Body:
    contracts: list[Body] = [
        {**_named(name), "factor": f"own.{name}"} for name in ("hydro", "wind") if chance.randrange(4)
    ]
    return {"source": "grid", "contracts": contracts, "residual": chance.choice(("", "own.residual"))}


def _certificates(chance: random.Random) -> list[Body]:
    """Of whole and of part hours, more than was used in some; one of them is of no contract."""
    events: list[Body] = []
    for _ in range(chance.choice((0, 1, 2, 4))):
        from_ms = START_MS + chance.randrange(-4, 8) * HOUR_MS // 4
        to_ms = from_ms + chance.choice((1, 900_000, HOUR_MS, HOUR_MS, 2 * HOUR_MS, 5 * HOUR_MS))
        body: Body = {"contract": chance.choice(("hydro", "wind", "wind", "sun"))}
        body |= {"amount": chance.choice(("0.000007", 3, "333.333333", 700, "5e3")), "from": format_instant(from_ms)}
        body |= {"to": format_instant(to_ms), **chance.choice(({}, {"unit": "MWh"}, {"unit": "MJ"}))}
        events.append({"kind": "certificate", "at": _at(chance), "body": body})
    return events


def _named(name: str) -> Body:
    return {"id": name, "name": {"en": name}}


def _factors(chance: random.Random) -> list[Body]:
    """Some in two versions, with gases or parts, in another unit than the source's."""
    parts = chance.choice(({}, {"component": "combustion"}, {"parts": "combustion:1.9 upstream:0.345678901234"}))
    split = {"co2_fossil_kg": "0.51", "ch4_kg": "0.00123", "n2o_kg": "0.0000071", "ch4_origin": "fossil"}
    gases = chance.choice(({}, split, {**split, "ch4_origin": "biogenic", "co2_biogenic_kg": "0.4"}))
    rows: list[Body] = [
        {"factor_id": "own.gas", "version": 1, "value": "2.245678901234", "unit": "Nm3", **parts},
        {"factor_id": "own.grid", "version": 1, "value": "523.1", "unit": "MWh", "component": "generation"},
        {"factor_id": "own.stack", "version": 1, "value": "1", "unit": "kg", "component": "process"},
        {"factor_id": "own.salt", "version": 1, "value": "0.4821", "unit": "kg", **gases},
        {
            "factor_id": "own.dye",
            "version": 1,
            "value": "8.25",
            "unit": "kg",
            "component": chance.choice(("material", "transport")),
        },
    ]
    rows += [
        {
            "factor_id": "own.wind",
            "version": 1,
            "value": "0.012",
            "unit": "kWh",
            "parts": "generation:0.005 upstream:0.007",
        },
        {"factor_id": "own.hydro", "version": 1, "value": "24.123456789", "unit": "MWh"},
        {"factor_id": "own.residual", "version": 1, "value": "0.6123456789", "unit": "kWh", "component": "generation"},
    ]
    for row in rows[: chance.randrange(3)]:
        later = {"version": 2, "value": "3.000000000007", "known_at": format_instant(START_MS + HOUR_MS)}
        rows.append({**row, **later, "parts": "", "component": "life_cycle"})
    return [{**row, "source": "a test"} for row in rows if chance.randrange(8)]


def _series(chance: random.Random) -> list[Body]:
    purpose = chance.choice(("footprint", "inventory"))
    blocks: list[Body] = []
    for n in range(chance.randrange(1, 3)):
        at = [format_instant(START_MS + hour * HOUR_MS) for hour in range(2) if chance.randrange(4)]
        rows = [[hour, chance.choice(("0.41", "0.123456789")), chance.choice(("0.47", "0.2"))] for hour in at]
        known = {"known_at": format_instant(START_MS + n * HOUR_MS)} if n else {}
        if rows:
            blocks.append({"factor_id": "own.hours", "source": "a test", "purpose": purpose, "rows": rows, **known})
    return blocks


def _jobs(chance: random.Random) -> list[Body]:
    events: list[Body] = []
    for n in range(chance.randrange(1, 6)):
        start_ms = START_MS + chance.randrange(2 * HOUR_MS)
        body = {"job": f"j{n}", "batch": chance.choice(BATCHES), "work_unit": chance.choice(("u1", "u2"))}
        events.append(
            {"kind": "job_start", "at": format_instant(start_ms), "body": {**body, "weight": chance.choice((1, "2.5"))}}
        )
        end_ms = start_ms + chance.randrange(HOUR_MS)
        events.append({"kind": "job_end", "at": format_instant(end_ms), "body": {"job": f"j{n}"}})
    return events


def _trade(chance: random.Random) -> list[Body]:
    """Uses may exceed what was made; in half of the documents they lead back to where they came from."""
    loops = bool(chance.randrange(2))
    kinds = ("lot",) * 2 + ("output",) * 3 + ("scrap",) + ("material_use",) * 3 + ("return",)
    told = {"lot": _lot, "output": _output, "scrap": _scrap}
    events: list[Body] = []
    for kind in chance.choices(kinds, k=chance.randrange(3, 21)):
        body = told[kind](chance) if kind in told else _use(chance, kind, loops=loops)
        events.append({"kind": kind, "at": _at(chance), "body": {**_much(chance), **body}})
    for batch in BATCHES:
        if not chance.randrange(3):
            events.append({"kind": "order", "at": _at(chance), "body": {"batch": batch, **_much(chance, 5)}})
    return events


def _at(chance: random.Random) -> str:
    return format_instant(START_MS + chance.randrange(8) * HOUR_MS // 4)


def _much(chance: random.Random, least: int = 0) -> Body:
    unit = chance.choice(("kg", "kg", "kg", "t"))
    return {"quantity": chance.choice((least, 1, 7, "12.5", "33.333333", "0.000003")), "unit": unit}


def _lot(chance: random.Random) -> Body:
    body: Body = {"lot": chance.choice(BOUGHT), "kind": chance.choice(("purchased", "opening", "return"))}
    body |= {"material": chance.choice(MATERIALS)} if chance.randrange(2) else {}
    return body | (_paper(chance) if chance.randrange(3) else {})


def _output(chance: random.Random) -> Body:
    batch, kind = chance.choice((*BATCHES, *SOLD)), chance.choice(("good", "good", "rework", "co-product"))
    apart = {"as_lot": chance.choice([lot for lot in SOLD if lot != batch])} if kind == "co-product" else {}
    return {"batch": batch, "kind": kind, **apart, **_value(chance)}


def _scrap(chance: random.Random) -> Body:
    apart = {"as_lot": chance.choice(SOLD)} if chance.randrange(3) else {}
    return {"batch": chance.choice(BATCHES), **apart, **_value(chance)}


def _use(chance: random.Random, kind: str, *, loops: bool) -> Body:
    """Issued to a batch, or given back; without loops only of lots that come before it."""
    batch = chance.choice((*BATCHES, *SOLD) if loops else BATCHES)
    before = (*BATCHES, *SOLD) if loops else tuple(lot for lot in BATCHES if lot < batch)
    taken = {"lot": chance.choice((*before, *before, *BOUGHT))}
    if not chance.randrange(3):
        taken = {"material": chance.choice(MATERIALS)}
    return {"batch": batch, **taken, **({"step": "dye"} if kind == "material_use" and chance.randrange(2) else {})}


def _paper(chance: random.Random) -> Body:
    told: Body = {
        "pcf_kg_co2e": chance.choice(("4.25", "0", "123.000000000001")),
        "primary_share": chance.choice(("0", "0.7")),
    }
    if told["pcf_kg_co2e"] == "4.25":
        told |= chance.choice(({}, {"pcf_fossil_kg_co2e": "4", "pcf_land_use_kg_co2e": "0.1"}))
    told |= chance.choice(({}, {"supplier": "mill"}, {"pcf_reference": "pact:1"}))
    return told | chance.choice(({}, {"pcf_uptake_kg_co2": "1.5"}))


def _value(chance: random.Random) -> Body:
    body: Body = {"unit_price": chance.choice(("2", "11", "0.3", "0", "-1", None))}
    body |= {"physical": chance.choice(("3", "0.5", None))}
    return {
        name: value
        for name, value in (body | {"displaced_kg_co2e": chance.choice((None, None, None, "1.1"))}).items()
        if value is not None
    }
