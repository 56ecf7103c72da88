"""Random small plants with random facts: chains, cycles, rests, roofs that export, jobs off the bucket edges."""

from dataclasses import dataclass
from typing import Any

from accounting_cases import HOUR, HOUR_MS, make_graph
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from plantprint.facts import EventKind, ProductionEvent, Quality, Reading
from plantprint.plant.graph import PlantGraph

HOURS = 3
# An example takes tens of milliseconds, many times that on a busy machine; that is no reason to fail.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SOURCES = {"gas": "fuel", "grid": "grid", "pv": "on_site"}
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
def plants(draw: st.DrawFn, *, bucket_s: int = 900, exports: bool = True, rests: bool = True) -> PlantGraph:
    """Pools p1 … p4, fed by sources and by pools before them; a metered flow back may make a cycle of some of them."""
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
    kinds = {pool: draw(st.sampled_from(["conserving", "converting"])) for pool in names}
    windows = {pool: draw(st.sampled_from(["", " bucket", " hour"])) for pool in names}
    flows: list[Flow] = [(giver, taker, f"m-{giver}-{taker}", 1) for giver, taker in pairs]
    if rests:
        flows += [(p, "unmetered", "rest", 1) for p in names if kinds[p] == "conserving" and draw(st.booleans())]
    flows = [_difference(flow) if draw(st.integers(0, 5)) == 0 else flow for flow in flows]
    return make_graph(
        sorted(set(flows)),
        pools={pool: kinds[pool] + windows[pool] for pool in names},
        sources=SOURCES,
        work_units=WORK_UNITS,
        rules=RULES,
        bucket_s=bucket_s,
    )


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
