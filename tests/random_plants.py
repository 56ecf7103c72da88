"""Random small plants with random facts: chains, cycles, rests, stores, CHPs, roofs that export, jobs at odd times."""

import random
from dataclasses import dataclass
from typing import Any

from accounting_cases import HOUR, HOUR_MS, make_graph
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from plantprint.facts import EventKind, ProductionEvent, Quality, Reading
from plantprint.plant.graph import PlantGraph
from plantprint.times import format_instant, parse_instant

HOURS = 3
# An example takes tens of milliseconds, many times that on a busy machine; that is no reason to fail.
UNHURRIED = settings(suppress_health_check=[HealthCheck.too_slow])
SOURCES = {"gas": "fuel", "grid": "grid", "pv": "on_site", "wind": "on_site"}
WORK_UNITS = ("u1", "u2", "u3")
RULES = {"dye": "weight", "wash": "equal", "spin": "exclusive"}

Flow = tuple[str, str, str, int]


@dataclass(frozen=True)
class Facts:
    """A plant, and the readings and events of its hours -1 … HOURS - 1, with a few readings after the end."""

    graph: PlantGraph
    readings: dict[str, list[Reading]]
    events: list[ProductionEvent]


@st.composite
def plants(
    draw: st.DrawFn, *, bucket_s: int = 900, exports: bool = True, rests: bool = True, stores: bool = True
) -> PlantGraph:
    """Pools p1 … p4, fed by sources and by pools before them; a metered flow back may make a cycle of some of them.

    A pool may have two products; a store takes from one pool and gives to any other, to itself or to a work unit.
    """
    names = [f"p{n + 1}" for n in range(draw(st.integers(1, 4)))]
    pairs: list[tuple[str, str]] = []
    for n, pool in enumerate(names):
        feeders = draw(st.sets(st.sampled_from([*SOURCES, *names[:n]]), min_size=1, max_size=3))
        pairs += [(feeder, pool) for feeder in sorted(feeders)]
    if len(names) > 1 and draw(st.booleans()):
        pairs.append((names[-1], names[draw(st.integers(0, len(names) - 2))]))
    takers = [*WORK_UNITS, "losses", *(["export"] if exports else [])]
    for pool in names:
        pairs += [(pool, taker) for taker in sorted(draw(st.sets(st.sampled_from(takers), min_size=1, max_size=3)))]
    pairs += [
        (source, unit)
        for source, unit in draw(
            st.sets(st.tuples(st.sampled_from(sorted(SOURCES)), st.sampled_from(WORK_UNITS)), max_size=2)
        )
    ]
    kept = draw(_stores(names)) if stores else {}
    pairs += [pair for store, (ends, _) in kept.items() for pair in ((ends[0], store), (store, ends[1]))]
    kinds = {pool: draw(st.sampled_from(["conserving", "converting"])) for pool in names}
    windows = {pool: draw(st.sampled_from(["", " bucket", " hour"])) for pool in names}
    flows: list[Flow] = [(giver, taker, f"m-{giver}-{taker}", 1) for giver, taker in pairs]
    if rests:
        flows += [(p, "unmetered", "rest", 1) for p in names if kinds[p] == "conserving" and draw(st.booleans())]
    flows = [_difference(flow) if draw(st.integers(0, 5)) == 0 else flow for flow in flows]
    several = {pool: draw(_products()) for pool in names if kinds[pool] == "converting" and draw(st.booleans())}
    more: dict[Any, dict[str, Any]] = {pool: fields for pool, fields in several.items() if fields}
    more |= {(giver, taker): {"product": draw(st.sampled_from("ab"))} for giver, taker in pairs if giver in several}
    return make_graph(
        sorted(set(flows)),
        pools={pool: kinds[pool] + windows[pool] for pool in names},
        sources=SOURCES,
        work_units=WORK_UNITS,
        rules=RULES,
        bucket_s=bucket_s,
        stores={store: fields for store, (_, fields) in kept.items()},
        more=more,
    )


@st.composite
def _stores(draw: st.DrawFn, pools: list[str]) -> dict[str, tuple[tuple[str, str], dict[str, Any]]]:
    """Up to two stores: where they take from and give to, and their fields."""
    found: dict[str, tuple[tuple[str, str], dict[str, Any]]] = {}
    for number in range(draw(st.sampled_from([0, 1, 1, 2]))):
        store = f"s{number + 1}"
        ends = draw(st.sampled_from(pools)), draw(st.sampled_from([*pools, *WORK_UNITS]))
        fields: dict[str, Any] = {"kind": draw(st.sampled_from(["fifo", "mixed"]))}
        match draw(st.integers(0, 3)):
            case 0:
                fields["level"] = f"m-level-{store}"
            case 1:
                fields["capacity"] = "0.5"
            case 2:
                fields["empty_point"] = draw(st.sampled_from(["00:00+00:00", "01:30+00:00"]))
        found[store] = ends, fields
    return found


@st.composite
def _products(draw: st.DrawFn) -> dict[str, Any]:
    content = st.sampled_from(["1", "0.75", "2.123456"])
    products = [{"id": name, "unit": "kWh", "kwh_per_unit": draw(content)} for name in "ab"]
    return {"method": "energy", "products": products}


def _difference(flow: Flow) -> Flow:
    giver, taker, amount, weight = flow
    return flow if amount == "rest" else (giver, taker, f"{amount} - {amount}-x", weight)


amounts = st.one_of(st.just(0), st.integers(0, 20), st.integers(0, 10**9))


@st.composite
def courses(draw: st.DrawFn) -> list[Reading]:
    """A register read at odd times over all hours and a little beyond; sometimes it stands, sometimes it is silent."""
    readings: list[Reading] = []
    t_ms, value = HOUR - HOUR_MS + draw(st.integers(0, 900_000)), draw(amounts)
    while t_ms < HOUR + (HOURS + 1) * HOUR_MS:
        quality = draw(st.sampled_from([Quality.MEASURED] * 4 + [Quality.ESTIMATED]))
        readings.append(Reading(t_ms, value, quality))
        t_ms += draw(st.sampled_from([300_000, 600_000, 754_321, 1_800_000, 5_000_000]))
        value += draw(st.sampled_from([0, 1, 3_000, 1_234_567]))
    return readings


@st.composite
def productions(draw: st.DrawFn) -> list[ProductionEvent]:
    """Jobs and states at any millisecond, some corrected, some withdrawn."""
    events: list[ProductionEvent] = []
    instants = st.integers(HOUR - HOUR_MS, HOUR + HOURS * HOUR_MS)

    def add(kind: EventKind, at_ms: int, body: dict[str, Any]) -> None:
        event = ProductionEvent("mes", f"e{len(events)}", 1, kind, at_ms, body)
        events.append(event)

    for number in range(draw(st.integers(0, 6))):
        start_ms, step = draw(instants), draw(st.sampled_from([*RULES, ""]))
        unit, weight = draw(st.sampled_from(WORK_UNITS)), draw(st.sampled_from([None, 1, 2.5, 700]))
        batch = f"b{draw(st.integers(1, 3))}"
        add(
            "job_start",
            start_ms,
            {"job": f"j{number}", "batch": batch, "work_unit": unit, "step": step, "weight": weight},
        )
        if draw(st.booleans()):
            add("job_end", start_ms + draw(st.integers(0, 2 * HOUR_MS)), {"job": f"j{number}"})
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(["processing", "processing", "setup", "clean-down", "idle", "fault"]))
        add("state", draw(instants), {"work_unit": draw(st.sampled_from(WORK_UNITS)), "state": name})
    corrected, withdrawn = draw(st.tuples(st.booleans(), st.booleans()))
    if events and corrected:
        changed = draw(st.sampled_from(events))
        events.append(ProductionEvent("mes", changed.event_id, 2, changed.kind, changed.at_ms + 60_000, changed.body))
    if events and withdrawn:
        add("withdraw", HOUR, {"event_id": draw(st.sampled_from(events)).event_id})
    return events


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    graph = draw(plants())
    several = draw(st.lists(courses(), min_size=1, max_size=4))
    readings = {meter: draw(st.sampled_from(several)) for meter in graph.meters if draw(st.integers(0, 9))}
    return Facts(graph, readings, draw(productions()))


# Plants with idle windows, over days on which Europe's clocks change.

DAYS = {"spring": "2026-03-28T20:00:00Z", "autumn": "2026-10-24T20:00:00Z", "month": "2026-10-31T12:00:00Z"}
WINDOWED_HOURS = 34
_SHIFTS = ("02:30", "10:15", "18:00")


@dataclass(frozen=True)
class Windowed:
    """A plant with idle windows, amounts per meter and hour by bucket, and its events."""

    graph: PlantGraph
    start_ms: int
    amounts: dict[str, list[list[int]]]
    events: list[ProductionEvent]


def idle_rules() -> st.SearchStrategy[dict[str, Any]]:
    drivers = st.sampled_from(["processing_time", "mass", "equal"])
    periods = st.sampled_from([("shift", _SHIFTS), ("day", ("00:00",)), ("week", ("06:00",)), ("none", ("00:00",))])
    return st.builds(lambda d, p: {"window": p[0], "starts": list(p[1]), "driver": d}, drivers, periods)


@st.composite
def windowed_plants(draw: st.DrawFn) -> PlantGraph:
    site = draw(idle_rules().filter(lambda rule: rule["window"] != "none"))
    inferred = {"infer_state": {"meter": "m2", "processing_kw": "0.002", "idle_kw": "0.001", "mean_over_s": 1800}}
    more: dict[Any, dict[str, Any]] = {
        "site": {"timezone": "Europe/Zurich"},
        "plant": {"idle": site},
        "u1": {"idle": draw(idle_rules())} if draw(st.booleans()) else {},
        "u2": inferred if draw(st.booleans()) else {},
        ("bus", "unmetered"): {"disposition": draw(st.sampled_from([None, "window", "consumers"]))},
        ("air", "u1"): {"driver": "running_time"},
        ("air", "u2"): {"driver": "running_time"},
    }
    return make_graph(
        [
            ("grid", "bus", "main"), ("bus", "u1", "m1"), ("bus", "u2", "m2"), ("bus", "unmetered", "rest"),
            ("gas", "u1", "g1"), ("grid", "air", "a"), ("air", "u1", "rest"), ("air", "u2", "rest"),
        ],
        pools={"bus": "conserving", "air": "conserving"},
        sources={"grid": "grid", "gas": "fuel"},
        work_units=["u1", "u2"],
        rules=RULES,
        bucket_s=1800,
        more=more,
    )  # fmt: skip


@st.composite
def windowed_events(draw: st.DrawFn, start_ms: int) -> list[ProductionEvent]:
    """Orders, jobs, states and activities at any minute."""
    events: list[ProductionEvent] = []
    minutes = st.integers(0, WINDOWED_HOURS * 60)

    def add(kind: EventKind, minute: int, body: dict[str, Any]) -> None:
        events.append(ProductionEvent("mes", f"e{len(events)}", 1, kind, start_ms + minute * 60_000, body))

    units, batches = st.sampled_from(["u1", "u2"]), st.sampled_from(["b1", "b2", "b3"])
    for number in range(draw(st.integers(0, 6))):
        begin = draw(minutes)
        body = {
            "job": f"j{number}",
            "batch": draw(batches),
            "work_unit": draw(units),
            "step": draw(st.sampled_from(sorted(RULES))),
        }
        add("job_start", begin, body)
        if draw(st.integers(0, 4)):
            add("job_end", begin + draw(st.integers(0, 400)), {"job": f"j{number}"})
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from(["processing", "setup", "setup", "clean-down", "clean-down", "fault"]))
        add("state", draw(minutes), {"work_unit": draw(units), "state": name})
    for batch in draw(st.sets(batches)):
        add("order", draw(minutes), {"batch": batch, "quantity": draw(st.integers(1, 900)), "unit": "kg"})
    for _ in range(draw(st.integers(0, 2))):
        begin = draw(minutes)
        span = [format_instant(start_ms + minute * 60_000) for minute in (begin, begin + draw(st.integers(1, 900)))]
        place = draw(st.sampled_from([{}, {"work_unit": "u1"}, {"pool": "bus"}]))
        add("activity", draw(minutes), {"source": "gas", "amount": 3, "from": span[0], "to": span[1], **place})
    return events


@st.composite
def windowed(draw: st.DrawFn) -> Windowed:
    start_ms = parse_instant(DAYS[draw(st.sampled_from(sorted(DAYS)))])
    graph = draw(windowed_plants())
    chance = random.Random(draw(st.integers(0, 2**32)))
    sizes = [0, 1, 7, 1_000, 10**9]
    amounts = {
        meter: [
            [chance.randrange(sizes[chance.randrange(5)] + 1) * chance.randrange(2) for _ in range(graph.buckets)]
            for _ in range(WINDOWED_HOURS)
        ]
        for meter in graph.meters
    }
    return Windowed(graph, start_ms, amounts, draw(windowed_events(start_ms)))
