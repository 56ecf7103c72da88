"""Market-based electricity: contracts and certificates matched by hour, and the residual mix for what they do not cover.

The matched share of an hour is min(1, certificates / site import), the same for every account in that hour. Exact
rationals: per hour, what contracts cover and what the residual mix covers is the energy of the hour to the last digit.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from plantprint.factors import AverageFactor
from plantprint.ledger import PostingKey

RESIDUAL = "residual"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Energy of a contract (a PPA, guarantees of origin, green certificates) in one hour, in millionths of the unit."""

    contract: str
    hour_ms: int
    amount: int


@dataclass(frozen=True, slots=True)
class Market:
    """The market of one source: factors by contract, certificates, the import of the whole site by hour.

    Without a `residual` factor, the uncovered part takes the location-based one, with an issue that says so.
    """

    source: str
    contracts: Mapping[str, AverageFactor]
    certificates: tuple[Certificate, ...]
    site_import: Mapping[int, int]
    residual: AverageFactor | None = None


class MarketError(ValueError):
    """Contracts that cannot be matched; the message names the contract or the hour and the remedy."""


def site_import(net: Mapping[PostingKey, int], source: str) -> dict[int, int]:
    """What entered from `source` by hour, over all accounts of a site."""
    hours: defaultdict[int, int] = defaultdict(int)
    for key, amount in net.items():
        if key.source == source:
            hours[key.entered_ms] += amount
    return dict(hours)


def hour_shares(market: Market) -> dict[int, dict[str, Fraction]]:
    """Per hour of import, the share of each contract and of `RESIDUAL`; the shares of an hour add up to exactly 1.

    Certificates above the import of their hour count in proportion and only up to it: what is left over covers no other
    hour. Raises `MarketError` for an unknown contract or a negative amount.
    """
    claimed = _by_hour(market)
    return {hour: _shares(amount, claimed.get(hour, {})) for hour, amount in market.site_import.items()}


def unused(market: Market) -> dict[int, int]:
    """Certificates that covered nothing, by hour: the part above the import of that hour."""
    claimed = _by_hour(market)
    surplus = {hour: sum(by.values()) - max(market.site_import.get(hour, 0), 0) for hour, by in claimed.items()}
    return {hour: left for hour, left in sorted(surplus.items()) if left > 0}


def covered(net: Mapping[PostingKey, int], market: Market) -> dict[str, Fraction]:
    """Millionths of the unit that each contract, and `RESIDUAL`, covers of the postings of the market's source."""
    shares = hour_shares(market)
    sums: defaultdict[str, Fraction] = defaultdict(Fraction)
    for key, amount in net.items():
        if key.source == market.source:
            for name, share in shares.get(key.entered_ms, {RESIDUAL: Fraction(1)}).items():
                sums[name] += share * amount
    return dict(sums)


def _by_hour(market: Market) -> dict[int, dict[str, int]]:
    hours: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for certificate in market.certificates:
        if certificate.contract not in market.contracts:
            raise MarketError(
                f"certificates name the contract {certificate.contract!r}, which has no factor; add the contract"
            )
        if certificate.amount < 0:
            raise MarketError(f"a certificate of {certificate.contract!r} is negative; withdraw the wrong one instead")
        hours[certificate.hour_ms][certificate.contract] += certificate.amount
    return {hour: dict(by) for hour, by in hours.items()}


def _shares(imported: int, claimed: Mapping[str, int]) -> dict[str, Fraction]:
    total = sum(claimed.values())
    if imported <= 0 or not total:
        return {RESIDUAL: Fraction(1)}
    whole = max(imported, total)
    shares = {contract: Fraction(amount, whole) for contract, amount in sorted(claimed.items()) if amount}
    if total < imported:
        shares[RESIDUAL] = 1 - sum(shares.values(), Fraction(0))
    return shares
