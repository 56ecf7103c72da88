"""States of a work unit that nobody reported, inferred from the power that a meter shows."""

from collections.abc import Mapping
from itertools import pairwise

from plantprint.facts import Quality
from plantprint.intervals import MeterHour
from plantprint.plant.graph import PlantGraph
from plantprint.plant.model import StateRule
from plantprint.production import StateSpan
from plantprint.quantities import MICRO, conversion
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
        start_ms, end_ms = hour_ms + first * bucket_ms, hour_ms + behind * bucket_ms
        if spans and spans[-1].state == state and spans[-1].end_ms == start_ms:
            start_ms = spans.pop().start_ms
        spans.append(StateSpan(unit, state, start_ms, end_ms, inferred=True))
    return spans
