"""States of a work unit that nobody reported, inferred from the power that a meter shows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from plantprint.facts import Quality
from plantprint.intervals import MeterHour
from plantprint.plant.graph import PlantGraph
from plantprint.plant.model import StateRule
from plantprint.production import Production, StateSpan
from plantprint.quantities import MICRO, conversion
from plantprint.timelines import slices
from plantprint.times import HOUR_MS


def inferred_states(
    graph: PlantGraph, meters: Mapping[str, MeterHour], hour_ms: int
) -> dict[str, tuple[StateSpan, ...]]:
    """By work unit with a rule its states of an hour; nothing is inferred where the meter is missing."""
    return {
        unit: tuple(_spans(unit, rule, meters[rule.meter], graph.meters[rule.meter].unit, hour_ms))
        for unit, rule in graph.state_rules.items()
        if rule.meter in meters
    }


def unreported(
    graph: PlantGraph, production: Production, hour_ms: int, inferred: Mapping[str, Sequence[StateSpan]]
) -> tuple[StateSpan, ...]:
    """The states of an hour that count though nobody reported them: from power, or a job that means processing."""
    found: list[StateSpan] = []
    for unit in graph.work_units:
        for part in slices(production, unit, hour_ms, hour_ms + HOUR_MS):
            if part.state is not None or not (part.jobs or unit in inferred):
                continue
            spans = inferred.get(unit)
            for known in slices(production, unit, part.from_ms, part.to_ms, spans) if spans else [part]:
                state = known.state or ("processing" if known.jobs else None)
                if state is not None:
                    _append(found, StateSpan(unit, state, known.from_ms, known.to_ms, inferred=True))
    return tuple(sorted(found, key=lambda span: (span.work_unit, span.start_ms)))


def _append(spans: list[StateSpan], span: StateSpan) -> None:
    """Adds a span, as one with the last where that goes on."""
    last = spans[-1] if spans else None
    if last is not None and (last.work_unit, last.state, last.end_ms) == (span.work_unit, span.state, span.start_ms):
        span = replace(spans.pop(), end_ms=span.end_ms)
    spans.append(span)


def _spans(unit: str, rule: StateRule, hour: MeterHour, meter_unit: str, hour_ms: int) -> list[StateSpan]:
    bucket_ms = HOUR_MS // hour.amount.size
    step = max(1, rule.mean_over_s * 1000 // bucket_ms)
    kwh = conversion(meter_unit, "kWh")
    spans: list[StateSpan] = []
    for first, behind in pairwise([*range(0, hour.amount.size, step), hour.amount.size]):
        if (hour.quality[first:behind] == Quality.MISSING).any():
            continue
        length_ms = (behind - first) * bucket_ms
        # kW = kWh per hour, compared without dividing: amount x kWh x hour >= threshold x millionths x length.
        energy = int(hour.amount[first:behind].sum()) * kwh.numerator * HOUR_MS
        scale = MICRO * length_ms * kwh.denominator
        state = (
            "processing"
            if energy >= rule.processing_kw * scale
            else "idle"
            if energy >= rule.idle_kw * scale
            else "off"
        )
        _append(spans, StateSpan(unit, state, hour_ms + first * bucket_ms, hour_ms + behind * bucket_ms, inferred=True))
    return spans
