"""Oracle: market-based electricity (section 6): certificates by the hour against the import of the whole site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Any

from oracle.oracle_account import OracleHour
from oracle.oracle_events import counted
from oracle.oracle_numbers import HOUR_MS, MICRO, converted, half_even, number, r1
from oracle.oracle_rates import Rate, Rates, rate_of
from oracle.oracle_time import instant

Body = Mapping[str, Any]


@dataclass
class Market:
    """By hour what came in, and by hour and contract what certificates are there; `rates` are per unit of the source."""

    source: str
    contracts: dict[str, Rate]
    residual: Rate | None
    location: Rates
    imported: dict[int, int] = field(default_factory=dict)
    certified: dict[int, dict[str, int]] = field(default_factory=dict)

    def at(self, entered_ms: int) -> Rate | None:
        """The matched share of an hour, min(1, certificates ÷ import), over its contracts; the rest is the residual mix.

        Without one what no contract covers takes the location-based factor.
        """
        hour_ms = entered_ms // HOUR_MS * HOUR_MS
        imported, certified = self.imported.get(hour_ms, 0), self.certified.get(hour_ms, {})
        there = sum(certified.values())
        parts: list[tuple[Fraction, Rate | None]] = []
        if imported > 0:
            whole = max(imported, there)
            parts = [(Fraction(amount, whole), self.contracts[name]) for name, amount in sorted(certified.items())]
        rest = 1 - sum((share for share, _ in parts), Fraction(0))
        if rest:
            parts.append((rest, self.residual or self.location.at(self.source, entered_ms)))
        known = [(share, rate) for share, rate in parts if rate is not None]
        return _mixed(known) if len(known) == len(parts) else None


def market_of(model: Body, hours: Sequence[OracleHour], events: Sequence[Body], rates: Rates) -> Market | None:
    asked = model.get("market")
    if asked is None:
        return None
    unit = rates.sources[asked["source"]]["unit"]
    named = {contract["id"]: rates.library.get(contract["factor"]) for contract in asked["contracts"]}
    contracts = {name: rate_of(factor, unit) for name, factor in named.items() if factor is not None}
    residual = rates.library.get(asked.get("residual", ""))
    market = Market(asked["source"], contracts, None if residual is None else rate_of(residual, unit), rates)
    market.imported = {hour.hour_ms: hour.entered.get(market.source, 0) for hour in hours}
    for event in counted(events):
        body = event["body"]
        if event["kind"] != "certificate" or body["contract"] not in contracts:
            continue  # an open issue
        factor = converted(body.get("unit") or unit, unit)
        assert factor is not None, "the test's certificates are of energy"
        begin_ms, end_ms = instant(body["from"]), instant(body["to"])
        first_ms = begin_ms // HOUR_MS * HOUR_MS
        edges = [begin_ms, *range(first_ms + HOUR_MS, end_ms, HOUR_MS), end_ms]
        parts = r1(half_even(half_even(number(body["amount"]) * MICRO) * factor), [b - a for a, b in pairwise(edges)])
        for at_ms, part in zip(edges, parts, strict=False):
            hour = market.certified.setdefault(at_ms // HOUR_MS * HOUR_MS, {})
            hour[body["contract"]] = hour.get(body["contract"], 0) + part
    return market


def _mixed(parts: Sequence[tuple[Fraction, Rate]]) -> Rate:
    """Rounded once; its components by R1."""
    if len(parts) == 1:
        return parts[0][1]
    whole = half_even(sum((share * sum(rate.components.values()) for share, rate in parts), Fraction(0)))
    names = sorted({name for _, rate in parts for name in rate.components})
    weights = [sum((share * rate.components.get(name, 0) for share, rate in parts), Fraction(0)) for name in names]
    return Rate(
        dict(zip(names, r1(whole, weights), strict=True)),
        {"unsplit": whole},
        {},
        "production",
        tuple(sorted({reference for share, rate in parts if share for reference in rate.references})),
    )
