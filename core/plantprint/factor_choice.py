"""The choice of a factor by what is wanted, where, when and for which account, with every step of a fall-back visible.

Place: province, grid region, country, world default (never for electricity and heat), neighbour marked proxy, else an
issue. Year, within a place: the same, then the latest before, never a later one. Purpose, gases and kind never fall back.
"""

import csv
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import StringIO
from typing import Generic, Literal, TypeVar

from plantprint.factors import AverageFactor, Factor, MarginalFactor, Purpose, average, marginal
from plantprint.facts import Issue
from plantprint.quantities import UnitError, conversion
from plantprint.times import from_ms, parse_instant

WORLD = "GLO"
_LOCAL_ONLY = ("electricity.", "heat.")
_F = TypeVar("_F", AverageFactor, MarginalFactor)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a factor is needed for: `subject` (electricity.grid), per a unit that `unit` converts to, used at `at_ms`."""

    subject: str
    unit: str
    geography: str
    at_ms: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Chosen(Generic[_F]):
    """The factor, the steps that led to it in words, whether it stands in for another place, and what to know of it."""

    factor: _F
    steps: tuple[str, ...]
    proxy: bool
    issues: tuple[Issue, ...]

    @property
    def reason(self) -> str:
        return "; ".join(self.steps)


def choose(factors: Iterable[Factor], wanted: Wanted, known_at_ms: int | None = None) -> Chosen[AverageFactor] | Issue:
    """The average factor for `wanted` among what was known at `known_at_ms` (None: everything), or why there is none."""
    return _choose(factors, wanted, known_at_ms, "average", average)


def choose_marginal(
    factors: Iterable[Factor], wanted: Wanted, known_at_ms: int | None = None
) -> Chosen[MarginalFactor] | Issue:
    """Like `choose`, for the effect of a decision; its type keeps it out of accounts."""
    return _choose(factors, wanted, known_at_ms, "marginal", marginal)


def _choose(
    factors: Iterable[Factor],
    wanted: Wanted,
    known_at_ms: int | None,
    kind: Literal["average", "marginal"],
    typed: Callable[[Factor], _F],
) -> Chosen[_F] | Issue:
    known = as_known(factors, known_at_ms)
    replaced = {
        factor.supersedes for factor in known.values() if factor.supersedes and not _later(factor, wanted.at_ms)
    }
    fitting = [
        f for f in known.values() if f.subject == wanted.subject and f.kind == kind and _converts(wanted.unit, f.unit)
    ]
    served = [f for f in fitting if f.purpose in (wanted.purpose, "any")]
    usable = [f for f in served if f.factor_id not in replaced and not _later(f, wanted.at_ms)]
    steps: list[str] = []
    for place, role in places(wanted.geography, wanted.subject):
        here = [factor for factor in usable if factor.geography == place]
        if not here:
            steps.append(f"{place}: none")
            continue
        best = min(here, key=lambda factor: _rank(factor, wanted.at_ms))
        proxy = role == "proxy" or best.basis == "proxy"
        steps.append(f"{place}: {best.factor_id}{_words(best, wanted.at_ms, role, proxy=proxy)}")
        return Chosen(typed(best), tuple(steps), proxy, tuple(warnings(best, wanted.at_ms)))
    return _nothing(wanted, fitting, served, steps)


def as_known(factors: Iterable[Factor], known_at_ms: int | None) -> dict[str, Factor]:
    """The highest version of each factor, by its id, that was known at `known_at_ms`; without a date it always was."""
    newest: dict[str, Factor] = {}
    for factor in factors:
        if known_at_ms is not None and known_from_ms(factor) > known_at_ms:
            continue
        other = newest.get(factor.factor_id)
        if other is None or factor.version > other.version:
            newest[factor.factor_id] = factor
    return newest


def known_from_ms(factor: Factor) -> int:
    """When a factor could be known first: an own one when it was added, another on its day of publication, or ever."""
    if factor.known_at:
        return parse_instant(factor.known_at)
    return _day_ms(factor.published_on) if factor.published_on else -(2**62)


def places(geography: str, subject: str) -> Iterator[tuple[str, Literal["own", "wider", "world", "proxy"]]]:
    """Places to look for a factor, nearest first, and what each is to `geography`."""
    table = geographies()
    chain = [geography]
    while chain[-1] in table and table[chain[-1]].parent:
        chain.append(table[chain[-1]].parent)
    if chain[-1] not in table and "-" in geography:
        chain.append(geography.partition("-")[0])
    yield geography, "own"
    for place in chain[1:]:
        yield place, "wider"
    if geography != WORLD and not subject.startswith(_LOCAL_ONLY):
        yield WORLD, "world"
    for place in chain:
        for proxy in table[place].proxies if place in table else ():
            yield proxy, "proxy"


@dataclass(frozen=True, slots=True)
class Geography:
    """A place, the wider one that holds it, and the neighbours that may stand in for it, best first."""

    code: str
    parent: str
    name: str
    proxies: tuple[str, ...]


@cache
def geographies() -> Mapping[str, Geography]:
    text = resources.files("plantprint").joinpath("data/geographies.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(StringIO(text))
    return {r["code"]: Geography(r["code"], r["parent"], r["name"], tuple(r["proxies"].split())) for r in rows}


def warnings(factor: Factor, at_ms: int) -> list[Issue]:
    """What a reader must know of a factor used at `at_ms`: its term is over, it stands in, or another replaced it."""
    found = []
    if is_expired(factor, at_ms):
        message = f"{factor.factor_id} was to be used until {factor.valid_to}; it is the latest that is known"
        remedy = "add the factor of this term with `plantprint factors add`; affected hours are restated by themselves"
        found.append(Issue("factor-expired", factor.factor_id, message, remedy, at_ms))
    if factor.basis == "proxy":
        message = f"{factor.factor_id} is a proxy: its place has no factor of its own"
        found.append(
            Issue("factor-proxy", factor.factor_id, message, "name a factor of the place itself if one exists", at_ms)
        )
    return found


def is_expired(factor: Factor, at_ms: int) -> bool:
    """True from the day after `valid_to` on."""
    return bool(factor.valid_to) and at_ms >= _day_ms(factor.valid_to) + 86_400_000


def is_own(factor: Factor) -> bool:
    """A factor that the site added itself; its term binds, where a publisher's only says when the next set came."""
    return bool(factor.known_at)


def _later(factor: Factor, at_ms: int) -> bool:
    """A factor of a time after the use, which is never taken."""
    if factor.data_year is not None and factor.data_year > from_ms(at_ms).year:
        return True
    binds = is_own(factor) or factor.data_year is None
    return binds and bool(factor.valid_from) and _day_ms(factor.valid_from) > at_ms


def _rank(factor: Factor, at_ms: int) -> tuple[bool, bool, bool, int, int, str]:
    """Own before published, the year of use first, in term before out of it, then the latest."""
    year = factor.data_year or 0
    return (
        not (is_own(factor) and not is_expired(factor, at_ms)),
        year != from_ms(at_ms).year,
        is_expired(factor, at_ms),
        -year,
        -(_day_ms(factor.valid_from) if factor.valid_from else 0),
        factor.factor_id,
    )


def _words(factor: Factor, at_ms: int, role: str, *, proxy: bool) -> str:
    year = from_ms(at_ms).year
    words = []
    if factor.data_year is not None:
        words.append(
            f"data of {factor.data_year}" + ("" if factor.data_year == year else f", the latest before {year}")
        )
    if role == "world":
        words.append("a world default")
    if proxy:
        words.append("a proxy from elsewhere")
    return f" ({', '.join(words)})" if words else ""


def _nothing(wanted: Wanted, fitting: list[Factor], served: list[Factor], steps: list[str]) -> Issue:
    tried = ", ".join(steps)
    if fitting and not served:
        other = "inventory" if wanted.purpose == "footprint" else "footprint"
        message = (
            f"{wanted.subject} has factors for the {other} only, and those are never used for the {wanted.purpose}"
        )
        return Issue(
            "factor-purpose",
            wanted.subject,
            message,
            "add a factor of this purpose: `plantprint factors add`",
            wanted.at_ms,
        )
    why = "only factors of a later year or another place exist" if served else "none exists"
    message = f"no factor for {wanted.subject} per {wanted.unit} in {wanted.geography} ({tried}): {why}"
    return Issue(
        "factor-missing",
        wanted.subject,
        message,
        "add one with `plantprint factors add`, or name one in plant.yaml",
        wanted.at_ms,
    )


def _converts(unit: str, other: str) -> bool:
    try:
        conversion(unit, other)
    except UnitError:
        return False
    return True


@cache
def _day_ms(day: str) -> int:
    """Start of a day; of a month or a year without a day, the last one, so that nothing counts as known too early."""
    year, month, date = (*day.split("-"), "", "")[:3]
    month = month or "12"
    date = date or str(monthrange(int(year), int(month))[1])
    return parse_instant(f"{year}-{month}-{date}T00:00:00Z")
