"""Activities over a period: a refrigerant top-up, waste water; an amount that no meter sees, spread over the jobs of its span."""

from dataclasses import dataclass

from plantprint.event_fields import plain_text
from plantprint.facts import Issue, ProductionEvent
from plantprint.plant.graph import PlantGraph
from plantprint.quantities import MICRO, conversion, round_half_even
from plantprint.recorded import recorded_amount
from plantprint.times import hour_floor, parse_instant


@dataclass(frozen=True, slots=True, order=True)
class Activity:
    """`amount` in millionths of the source's unit, of [from, to), for the jobs at `place` or downstream of it.

    `place` is a work unit or a pool, empty for the whole site.
    """

    from_ms: int
    to_ms: int
    source: str
    place: str
    amount: int
    event_source: str
    event_id: str

    @property
    def start_ms(self) -> int:
        return self.from_ms

    @property
    def end_ms(self) -> int:
        return self.to_ms

    @property
    def hour_ms(self) -> int:
        """The hour in which it enters the boundary: its span's last."""
        return hour_floor(self.to_ms - 1)


def reduce_activity(event: ProductionEvent, graph: PlantGraph) -> Activity | Issue:
    """What an event of an activity says, or what is wrong with it; a wrong one is kept out."""
    try:
        return _activity(event, graph)
    except ValueError as error:
        place = f"{event.source}/{event.event_id}"
        remedy = "send it again with a higher revision, such as {source, amount: 1.5, unit: kg, from, to, work_unit}"
        return Issue("activity-invalid", place, f"{error}; it is kept out", remedy, event.at_ms)


def activity_hour_ms(event: ProductionEvent) -> int | None:
    """The hour in which the activity of an event would enter the boundary; None when it does not say."""
    try:
        return hour_floor(parse_instant(plain_text(event, "to")) - 1)
    except ValueError:
        return None


def _activity(event: ProductionEvent, graph: PlantGraph) -> Activity:
    """Raises `ValueError` naming what is wrong."""
    source = graph.sources.get(plain_text(event, "source"))
    if source is None:
        raise ValueError(f"an activity of {event.body.get('source')!r}, which is no source of the plant")
    amount, unit = recorded_amount(event.body)
    exact = amount * conversion(unit or source.unit, source.unit) * MICRO
    from_ms, to_ms = (parse_instant(plain_text(event, name)) for name in ("from", "to"))
    if from_ms >= to_ms:
        raise ValueError("it ends before it starts")
    work_unit, pool = plain_text(event, "work_unit"), plain_text(event, "pool")
    if work_unit and pool:
        raise ValueError(f"it names a work unit, {work_unit!r}, and a pool, {pool!r}")
    if work_unit and work_unit not in graph.work_units:
        raise ValueError(f"{work_unit!r} is no work unit of the plant")
    if pool and pool not in graph.pools:
        raise ValueError(f"{pool!r} is no pool of the plant")
    micro = round_half_even(exact.numerator, exact.denominator)
    return Activity(from_ms, to_ms, source.id, work_unit or pool, micro, event.source, event.event_id)
