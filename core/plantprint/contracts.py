"""The market of a plant model's source: its contracts with their factors, and certificate events spread over hours.

A certificate event says {contract, amount, unit?, from, to}: energy of a contract that was produced in [from, to). It
counts evenly over that span, hour by hour, and an hour's part covers nothing but the import of that hour (`market`).
"""

from collections.abc import Iterable, Mapping

from plantprint.event_fields import plain_text, positive_micro
from plantprint.factors import AverageFactor, Factor, FactorError, average
from plantprint.facts import EventKind, Issue, ProductionEvent
from plantprint.market import Certificate, Market
from plantprint.material_events import valid_events
from plantprint.plant.model import Plant
from plantprint.quantities import UnitError, conversion, divide, round_half_even
from plantprint.times import HOUR_MS, hour_floor, parse_instant

KIND: EventKind = "certificate"
_SPAN_MAX_MS = 366 * 24 * HOUR_MS


def market_of(
    plant: Plant, library: Mapping[str, Factor], events: Iterable[ProductionEvent], site_import: Mapping[int, int]
) -> tuple[Market | None, tuple[Issue, ...]]:
    """The market that the plant model names, None without one; and what is wrong with its factors and certificates.

    `site_import` is what entered from the market's source by hour, over all accounts, in millionths of its unit.
    """
    asked = plant.market
    source = next((one for one in plant.sources if asked is not None and one.id == asked.source), None)
    if asked is None or source is None:
        return None, ()
    issues: list[Issue] = []
    contracts: dict[str, AverageFactor] = {}
    for contract in asked.contracts:
        if (factor := _factor(library, contract.factor, contract.id, issues)) is not None:
            contracts[contract.id] = factor
    residual = _factor(library, asked.residual, source.id, issues) if asked.residual else None
    certificates: list[Certificate] = []
    for event in valid_events(events, frozenset({KIND})):
        try:
            certificates += _certificates(event, contracts, source.unit)
        except ValueError as error:
            remedy = "send it again with a higher revision, such as {contract, amount: 1.5, unit: MWh, from, to}"
            place = f"{event.source}/{event.event_id}"
            issues.append(Issue("certificate-invalid", place, f"{error}; it is kept out", remedy, event.at_ms))
    return Market(source.id, contracts, tuple(certificates), dict(site_import), residual), tuple(issues)


def _factor(library: Mapping[str, Factor], factor_id: str, place: str, issues: list[Issue]) -> AverageFactor | None:
    factor = library.get(factor_id)
    try:
        if factor is None:
            raise FactorError(f"the factor {factor_id!r} is not in the library")  # noqa: TRY301 - one way out
        return average(factor)
    except FactorError as error:
        remedy = "add it with `plantprint factors add`, or name another one in the market of plant.yaml"
        issues.append(Issue("factor-missing", place, str(error), remedy))
        return None


def _certificates(event: ProductionEvent, contracts: Mapping[str, AverageFactor], unit: str) -> list[Certificate]:
    """Raises `ValueError` naming what is wrong."""
    contract, amount = plain_text(event, "contract"), positive_micro(event.body.get("amount"))
    if contract not in contracts:
        raise ValueError(f"a certificate of {contract!r}, which is no contract of the plant model with a factor")
    if amount is None:
        raise ValueError(f"amount {event.body.get('amount')!r} is no number above zero")
    try:
        ratio = conversion(plain_text(event, "unit") or unit, unit)
    except UnitError as error:
        raise ValueError(str(error)) from error
    from_ms, to_ms = (parse_instant(plain_text(event, name)) for name in ("from", "to"))
    if not from_ms < to_ms <= from_ms + _SPAN_MAX_MS:
        raise ValueError("it ends before it starts, or spans more than a year")
    hours = range(hour_floor(from_ms), hour_floor(to_ms - 1) + 1, HOUR_MS)
    weights = [min(hour + HOUR_MS, to_ms) - max(hour, from_ms) for hour in hours]
    parts = divide(round_half_even(amount * ratio.numerator, ratio.denominator), weights)
    return [Certificate(contract, hour, part) for hour, part in zip(hours, parts, strict=True) if part]
