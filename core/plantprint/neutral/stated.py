"""Events, jobs, states, factors and hourly series as a document of facts states them, whatever the order of its rows."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, TypeVar

from plantprint.factor_choice import known_from_ms
from plantprint.factor_library import stated_factor
from plantprint.factor_series import BOTH, FactorSeries, HourIntensity
from plantprint.factors import Factor, FactorError, builtin_factors
from plantprint.facts import ProductionEvent
from plantprint.neutral.document import Facts, FactsError, StatedEvent, StatedJob, StatedSeries
from plantprint.times import HOUR_MS, format_instant, hour_floor

_EVER_AT = "1970-01-01T00:00:00Z"
_Stated = TypeVar("_Stated")
_DIGITS_MAX = 40  # before or after the decimal point; an account holds far fewer


def known_by(items: Sequence[_Stated], known_at_ms: int | None) -> list[tuple[int, _Stated]]:
    """Facts that are known by then, each with its number in the document."""
    known: list[tuple[int, _Stated]] = []
    for number, item in enumerate(items):
        since_ms = getattr(item, "known_at")  # noqa: B009 - every fact has it, which no protocol of pydantic fields says
        if known_at_ms is None or since_ms is None or since_ms <= known_at_ms:
            known.append((number, item))
    return known


def fraction(text: str, place: str) -> Fraction:
    try:
        number = Decimal(text)
        if number.is_finite() and abs(number.adjusted()) > _DIGITS_MAX:
            raise FactsError(f"{place}: {text} is beyond anything that is measured; correct it")
        return Fraction(number)
    except (ArithmeticError, ValueError) as error:
        if isinstance(error, FactsError):
            raise
        raise FactsError(f"{place}: {text!r} is not a number; write it as 123.45") from error


def stated_events(facts: Facts, known_at_ms: int | None) -> list[ProductionEvent]:
    """Events, and what jobs and states say as events."""
    found = [
        ProductionEvent(e.source, e.event_id or _identity(e), e.revision, e.kind, e.at, e.body)
        for _, e in known_by(facts.events, known_at_ms)
    ]
    found += _job_events([job for _, job in known_by(facts.jobs, known_at_ms)])
    for _, state in known_by(facts.states, known_at_ms):
        name = f"{state.work_unit}@{format_instant(state.at)}"
        told_state: dict[str, Any] = {"work_unit": state.work_unit, "state": state.state}
        found.append(ProductionEvent("states", name, 0, "state", state.at, told_state))
    return found


def _job_events(jobs: Sequence[StatedJob]) -> Iterable[ProductionEvent]:
    """Starts and ends; where one job is stated in several ways each is an event of its own, so that it is seen."""
    starts: dict[str, dict[str, ProductionEvent]] = defaultdict(dict)
    ends: dict[str, dict[str, ProductionEvent]] = defaultdict(dict)
    for job in jobs:
        told = {"job": job.job, "batch": job.batch, "work_unit": job.work_unit, "step": job.step, "weight": job.weight}
        body = {name: value for name, value in told.items() if value is not None}
        start = ProductionEvent("jobs", f"{job.job}.start", 0, "job_start", job.start, dict(body))
        starts[start.event_id][_contents(start)] = start
        if job.end is not None:
            end = ProductionEvent("jobs", f"{job.job}.end", 0, "job_end", job.end, {"job": job.job})
            ends[end.event_id][_contents(end)] = end
    for name, several in (*starts.items(), *ends.items()):
        for contents, event in several.items():
            yield event if len(several) == 1 else replace(event, event_id=f"{name}.{contents}")


def _identity(event: StatedEvent) -> str:
    """An event without an id is its contents."""
    return _hash([event.kind, event.at, event.body])


def _contents(event: ProductionEvent) -> str:
    return _hash([event.kind, event.at_ms, event.body])


def _hash(contents: list[Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def own_factors(facts: Facts) -> list[Factor]:
    """The site's own; a row without a version follows those of its id that were known before it."""
    rows: dict[str, tuple[int, dict[str, Any]]] = {}
    for number, row in enumerate(facts.factors):
        stated = {"known_at": _EVER_AT, **{name: value for name, value in row.items() if value is not None}}
        rows.setdefault(_hash([stated]), (number, stated))
    found: dict[tuple[str, int], Factor] = {}
    stood: set[tuple[str, int]] = set()
    for number, row in sorted(rows.values(), key=_turn):
        try:
            factor = stated_factor(row, [*builtin_factors(), *found.values()])
        except (FactorError, ValueError) as error:
            raise FactsError(f"factors.{number}: {error}; docs/factors.md describes the columns") from error
        since = (factor.factor_id, known_from_ms(factor))
        if (factor.factor_id, factor.version) in found or ("version" not in row and since in stood):
            raise FactsError(
                f"factors.{number}: {factor.factor_id} is stated before with other contents; give each row a version, "
                "or the instant since which it is known"
            )
        found[factor.factor_id, factor.version] = factor
        if "version" not in row:
            stood.add(since)
    return list(found.values())


def _turn(stated: tuple[int, dict[str, Any]]) -> tuple[bool, int, int]:
    """Rows with a version first, the others by the instant since which they are known."""
    number, row = stated
    try:
        since_ms = known_from_ms(stated_factor(row, ()))
    except (FactorError, ValueError):
        since_ms = 0  # The error is told where the row is used.
    return "version" not in row, since_ms, number


def hourly_series(facts: Facts, known_at_ms: int | None) -> dict[str, FactorSeries]:
    """Series by id; of an hour that is given more than once, what was known last counts."""
    found: dict[str, FactorSeries] = {}
    known = known_by(facts.factor_series, known_at_ms)
    for number, block in sorted(known, key=lambda item: (item[1].known_at or -(2**62), item[0])):
        before = found.get(block.factor_id)
        hours = _hours(block, f"factor_series.{number}")
        both = all(len(row) > 2 for row in block.rows)
        found[block.factor_id] = FactorSeries(
            block.factor_id,
            block.geography,
            block.source,
            hours if before is None else {**before.hours, **hours},
            block.purpose,
            1 if before is None else before.version + 1,
            (BOTH if both else frozenset((block.purpose,))) & (BOTH if before is None else before.serves),
        )
    return found


def _hours(block: StatedSeries, place: str) -> dict[int, HourIntensity]:
    hours: dict[int, HourIntensity] = {}
    for number, (hour_ms, *values) in enumerate(block.rows):
        at = f"{place}.rows.{number}"
        if hour_ms % HOUR_MS:
            raise FactsError(
                f"{at}.0: {format_instant(hour_ms)} is no full hour; write {format_instant(hour_floor(hour_ms))}"
            )
        direct, whole = (
            _decimal(text, f"{at}.{column}") for column, text in enumerate([*values, values[0]][:2], start=1)
        )
        if hour_ms in hours:
            raise FactsError(f"{at}.0: {format_instant(hour_ms)} is given twice; keep one of the rows")
        hours[hour_ms] = HourIntensity(direct, whole, estimated=False)
    return hours


def _decimal(text: str, place: str) -> Decimal:
    value = fraction(text, place)
    if value < 0:
        raise FactsError(f"{place}: {text} is negative; an intensity is kg CO2e per kWh, zero or more")
    return Decimal(text)
