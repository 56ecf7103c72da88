"""Hypothesis strategies and small builders of facts, shared by the tests; one section per part of the core."""

from collections.abc import Iterator, Sequence
from decimal import Decimal

from hypothesis import strategies as st

from plantprint.facts import Channel, Issue, ProductionEvent, Quality, Reading
from plantprint.intervals import CounterState, MeterHour, MeterSeries, meter_hour, span_readings, values_of
from plantprint.plant.model import Binding, Meter, Text
from plantprint.times import HOUR_MS

HOUR_0 = 480_000 * HOUR_MS
BUCKETS_S = (10, 60, 900, 3600)

# ---- intervals -------------------------------------------------------------------------------------------------------


def a_meter(
    unit: str = "kWh", *, max_gap_s: int = 300, wrap: str | None = None, rated_per_hour: str | None = None
) -> Meter:
    return Meter(
        id="m1",
        name=Text(en="Meter 1"),
        unit=unit,
        bindings=(Binding(channel="gw-1/m1"),),
        max_gap_s=max_gap_s,
        wrap=None if wrap is None else Decimal(wrap),
        rated_per_hour=None if rated_per_hour is None else Decimal(rated_per_hour),
    )


def a_counter(unit: str = "kWh", decimals: int = 3) -> Channel:
    return Channel("gw-1", "m1", unit, decimals, "counter")


def a_gauge(unit: str = "kW", decimals: int = 3) -> Channel:
    return Channel("gw-1", "m1", unit, decimals, "gauge")


def an_amount(period_s: int, unit: str = "kWh", decimals: int = 3) -> Channel:
    return Channel("gw-1", "m1", unit, decimals, "amount", period_s)


def at(*seconds_and_values: tuple[float, int]) -> tuple[Reading, ...]:
    """Readings so many seconds after HOUR_0."""
    return tuple(Reading(HOUR_0 + round(second * 1000), value) for second, value in seconds_and_values)


def hours(
    channel: Channel,
    meter: Meter,
    readings: Sequence[Reading],
    *,
    count: int = 1,
    bucket_s: int = 900,
    ratio: str = "1",
    state: CounterState | None = None,
    until_ms: int | None = None,
) -> Iterator[tuple[MeterHour, CounterState | None, list[Issue]]]:
    """Hour after hour from HOUR_0 as the accountant works it: its readings, those that tell more of it, and the state carried on.

    Without a `state` the hour before HOUR_0 is worked first, so that readings before it serve as a base.
    """
    start_ms = HOUR_0 if state is not None else HOUR_0 - HOUR_MS
    for hour_ms in range(start_ms, HOUR_0 + count * HOUR_MS, HOUR_MS):
        values = values_of(channel, meter, Decimal(ratio))
        window = span_readings(readings, hour_ms, hour_ms + HOUR_MS, channel, values)
        series = MeterSeries(channel, meter, Decimal(ratio), window)
        until = HOUR_0 + count * HOUR_MS if until_ms is None else until_ms
        hour, state, issues = meter_hour(series, hour_ms, bucket_s, state, until)
        if hour_ms >= HOUR_0:
            yield hour, state, issues


@st.composite
def instants(draw: st.DrawFn, hours: int = 3, min_size: int = 2, max_size: int = 40) -> list[int]:
    """Sorted instants from a little before HOUR_0 to a little after `hours` of it; some sit on bucket edges."""
    span = st.integers(HOUR_0 - HOUR_MS + 1, HOUR_0 + (hours + 1) * HOUR_MS)
    near = st.sampled_from([HOUR_0 + n * HOUR_MS + d for n in range(hours + 1) for d in (-1, 0, 1)])
    return sorted(draw(st.sets(span | near, min_size=min_size, max_size=max_size)))


@st.composite
def registers(draw: st.DrawFn, hours: int = 3) -> list[Reading]:
    """A counter without faults: readings whose values never fall."""
    times = draw(instants(hours))
    value = draw(st.integers(1, 10**9))
    readings = []
    for t_ms in times:
        value += draw(st.integers(0, 50_000))
        readings.append(Reading(t_ms, value, draw(st.sampled_from((Quality.MEASURED, Quality.ESTIMATED)))))
    return readings


@st.composite
def faulty_registers(draw: st.DrawFn, hours: int = 3) -> list[Reading]:
    """A counter with faults far enough apart that the readings after each decide it."""
    times = draw(instants(hours, 25, 60))
    value = draw(st.integers(1000, 10**6))
    readings: list[Reading] = []
    calm = 0
    for t_ms in times:
        value += draw(st.integers(0, 500))
        fault = draw(st.sampled_from(("none", "zero", "spike", "dip", "reset", "withdrawn"))) if calm > 4 else "none"
        calm = calm + 1 if fault == "none" else 0
        if fault == "reset":
            value = draw(st.integers(1, 100))
        seen = {"zero": 0, "spike": value * 1000, "dip": value - value // 20}.get(fault, value)
        readings.append(Reading(t_ms, seen, Quality.MISSING if fault == "withdrawn" else Quality.MEASURED))
    return readings


@st.composite
def rates(draw: st.DrawFn, hours: int = 3) -> list[Reading]:
    """A gauge: readings of any value from zero up."""
    times = draw(instants(hours))
    return [Reading(t_ms, draw(st.integers(0, 5_000_000))) for t_ms in times]


# ---- production ------------------------------------------------------------------------------------------------------


def event(
    kind: str, seconds: float, event_id: str = "", *, source: str = "mes", revision: int = 0, **body: str | float | None
) -> ProductionEvent:
    """An event so many seconds after HOUR_0; its id is made from its contents when none is given."""
    made_id = event_id or f"{kind}-{seconds}-{'-'.join(str(value) for value in body.values())}"
    at_ms = HOUR_0 + round(seconds * 1000)
    return ProductionEvent(source, made_id, revision, kind, at_ms, body)  # type: ignore[arg-type]


@st.composite
def production_events(draw: st.DrawFn) -> ProductionEvent:
    """An event of a small world in which ids, revisions, times and references collide often, wrong ones too."""
    few = st.sampled_from(("1", "2", "3"))
    work_unit = st.sampled_from(("u1", "u1", "u1", "u9", None))
    bodies: dict[str, dict[str, st.SearchStrategy[str | float | None]]] = {
        "order": {"batch": few, "product": few, "quantity": st.sampled_from((None, 5, 0.1, "12.5", "x", -1))},
        "job_start": {
            "job": few,
            "batch": few,
            "work_unit": work_unit,
            "step": st.sampled_from((None, "dyeing", "press", "sewing")),
            "weight": st.sampled_from((None, 1, 0.5, "3", 0, "x")),
        },
        "job_end": {"job": few},
        "state": {"work_unit": work_unit, "state": st.sampled_from(("idle", "processing", "warm-up", "dancing"))},
        "shipment": {"shipment": few, "batch": few, "quantity": st.sampled_from((None, 1))},
        "withdraw": {"event_id": st.sampled_from(("1", "2", "3", "w", "x"))},
    }
    kind = draw(st.sampled_from(sorted(bodies)))
    body = {name: draw(values) for name, values in bodies[kind].items()}
    source, event_id = draw(st.sampled_from(("mes", "erp"))), draw(st.sampled_from(("1", "2", "3", "4", "5", "w")))
    at_ms = HOUR_0 + draw(st.integers(0, 5)) * 1000
    return ProductionEvent(source, event_id, draw(st.integers(0, 2)), kind, at_ms, body)  # type: ignore[arg-type]
