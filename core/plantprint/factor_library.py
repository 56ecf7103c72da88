"""What people do with the factor library: list, explain, add and compare versions; plain data for commands and pages."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from plantprint.factor_choice import Chosen, as_known, is_expired, is_own, known_from_ms
from plantprint.factors import AverageFactor, Factor, FactorError, MarginalFactor, Purpose, read_row
from plantprint.facts import Issue
from plantprint.gwp import GWP_SETS, Number
from plantprint.quantities import FACTOR_SCALE, decimal_text, round_half_even
from plantprint.rates import gas_masses, parts_of, rate_of
from plantprint.times import format_instant

_PERCENT_DIGITS = 100
_IDENTITY = frozenset(("factor_id", "version", "known_at"))
_BLANK = dict.fromkeys(Factor.__dataclass_fields__, "") | {
    "gases": "CO2e",
    "gwp_set": "not stated",
    "geography": "GLO",
    "basis": "own",
}


@dataclass(frozen=True, slots=True)
class FactorChange:
    """A factor in two versions of a library: `change` is new / old - 1 of the value, None where there is no such ratio."""

    factor_id: str
    old: Factor
    new: Factor
    change: Fraction | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LibraryDiff:
    added: tuple[Factor, ...]
    removed: tuple[Factor, ...]
    changed: tuple[FactorChange, ...]


def relative_change(new: Number, old: Number) -> Fraction:
    """New / old - 1, exactly; raises `ValueError` when the old value is zero."""
    if not old:
        raise ValueError("a change from zero has no ratio; give the difference instead")
    return Fraction(new) / Fraction(old) - 1


def find(
    factors: Iterable[Factor],
    *,
    contains: str = "",
    purpose: Purpose | None = None,
    geography: str = "",
    category: str = "",
    at_ms: int | None = None,
    expires_within_ms: int | None = None,
) -> list[dict[str, Any]]:
    """One row per factor that fits, newest version only, by id; `expired` is told at `at_ms`.

    With `expires_within_ms` only those whose term ends so soon after `at_ms`, or is over, and that nothing follows.
    """
    word = contains.lower()
    rows = []
    known = list(as_known(factors, None).values())
    asked = known if at_ms is None or expires_within_ms is None else expiring(known, at_ms, expires_within_ms)
    for factor in sorted(asked, key=lambda one: one.factor_id):
        text = f"{factor.factor_id} {factor.subject} {factor.name} {factor.name_zh}".lower()
        fits = word in text and geography in ("", factor.geography) and category in ("", factor.category)
        if fits and (purpose is None or factor.purpose in (purpose, "any")):
            rows.append(_row(factor, at_ms))
    return rows


def explain(factors: Iterable[Factor], factor_id: str, at_ms: int | None = None) -> dict[str, Any]:
    """Everything that is known of a factor, every version of it first to last; raises `FactorError` when there is none."""
    known = list(factors)
    versions = sorted((f for f in known if f.factor_id == factor_id), key=lambda one: one.version)
    if not versions:
        close = get_close_matches(factor_id, {f.factor_id for f in known}, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise FactorError(f"no factor {factor_id!r}; {hint}`plantprint factors list` shows all")
    newest = versions[-1]
    masses = gas_masses(newest)
    return {
        **newest.to_json(),
        "expired": at_ms is not None and is_expired(newest, at_ms),
        "convertible": masses is not None,
        "by_gwp_set": _by_set(newest) if masses is not None else {},
        "by_component": {name: _text(value) for name, value in parts_of(newest).items()},
        "versions": [
            {
                "version": one.version,
                "value": format(one.value, "f"),
                "known_from": None if known_from_ms(one) < 0 else format_instant(known_from_ms(one)),
                "source": one.source,
            }
            for one in versions
        ],
    }


def explain_choice(chosen: Chosen[AverageFactor] | Chosen[MarginalFactor] | Issue) -> dict[str, Any]:
    """A choice, or the reason that there is none, as plain data."""
    if isinstance(chosen, Issue):
        return {"factor": None, "issues": [_issue(chosen)]}
    factor: Factor = chosen.factor
    return {
        "factor": factor.factor_id,
        "version": factor.version,
        "value": format(factor.value, "f"),
        "unit": factor.unit,
        "steps": list(chosen.steps),
        "proxy": chosen.proxy,
        "issues": [_issue(issue) for issue in chosen.issues],
    }


def own_factor(body: Mapping[str, Any], known_at_ms: int, library: Iterable[Factor]) -> Factor:
    """A factor that the site adds: the next version of its id, known from now on.

    `body` holds the columns of a factor; those that are not given stay empty. Raises `FactorError` saying what is wrong.
    """
    return stated_factor({**body, "version": None, "known_at": format_instant(known_at_ms)}, library)


def stated_factor(body: Mapping[str, Any], library: Iterable[Factor]) -> Factor:
    """A factor by its columns; without a `version` it is the next one of its id. Raises `FactorError`."""
    given = {name: value for name, value in body.items() if value is not None}
    missing = [name for name in ("factor_id", "value", "unit", "source") if not str(given.get(name, "")).strip()]
    if missing:
        raise FactorError(
            f"a factor needs {', '.join(missing)}: what it is called, kg CO2e per which unit, and by whose word"
        )
    unknown = sorted(set(given) - set(Factor.__dataclass_fields__))
    if unknown:
        close = get_close_matches(unknown[0], Factor.__dataclass_fields__, n=1)
        hint = f"did you mean {close[0]}?" if close else "`plantprint factors explain` shows the columns of one"
        raise FactorError(f"{given['factor_id']}: a factor has no {', '.join(unknown)}; {hint}")
    older = [one.version for one in library if one.factor_id == given["factor_id"]]
    version = given.get("version", max(older, default=0) + 1)
    row = {**_BLANK, **{name: str(value) for name, value in given.items()}, "version": str(version)}
    factor = read_row(row, str(given["factor_id"]))
    known_from_ms(factor)
    parts_of(factor)
    gas_masses(factor)
    return factor


def diff(old: Iterable[Factor], new: Iterable[Factor]) -> LibraryDiff:
    """What came, went and changed between two libraries, newest version of each factor, by id."""
    before, after = as_known(old, None), as_known(new, None)
    changed = []
    for factor_id in sorted(before.keys() & after.keys()):
        one, other = before[factor_id], after[factor_id]
        fields = tuple(name for name in Factor.__dataclass_fields__ if _differs(one, other, name))
        if fields:
            ratio = relative_change(other.value, one.value) if one.value and one.unit == other.unit else None
            changed.append(FactorChange(factor_id, one, other, ratio, fields))
    return LibraryDiff(
        tuple(after[name] for name in sorted(after.keys() - before.keys())),
        tuple(before[name] for name in sorted(before.keys() - after.keys())),
        tuple(changed),
    )


def diff_rows(found: LibraryDiff) -> list[dict[str, Any]]:
    """A difference as rows: what happened, to which factor, old and new value, change in percent to two decimals."""
    rows: list[dict[str, Any]] = []
    for what, factors in (("added", found.added), ("removed", found.removed)):
        rows += [{"what": what, "factor": f.factor_id, "value": format(f.value, "f"), "unit": f.unit} for f in factors]
    for change in found.changed:
        rows.append(
            {
                "what": "changed",
                "factor": change.factor_id,
                "old": format(change.old.value, "f"),
                "new": format(change.new.value, "f"),
                "unit": change.new.unit,
                "percent": None if change.change is None else percent(change.change),
                "fields": list(change.fields),
            }
        )
    return rows


def percent(share: Fraction) -> str:
    """A share as percent, to two decimals: -0.011 → "-1.1"."""
    exact = share * 100 * _PERCENT_DIGITS
    return decimal_text(round_half_even(exact.numerator, exact.denominator), _PERCENT_DIGITS)


def expiring(factors: Iterable[Factor], at_ms: int, within_ms: int) -> list[Factor]:
    """Factors whose term ends within `within_ms` after `at_ms`, or is over and nothing newer of their subject began."""
    known = as_known(factors, None).values()
    over = [one for one in known if is_expired(one, at_ms + within_ms)]
    return sorted((one for one in over if not _followed(one, known)), key=lambda one: (one.valid_to, one.factor_id))


def _followed(factor: Factor, known: Iterable[Factor]) -> bool:
    asked = (factor.subject, factor.geography, factor.purpose, factor.unit)
    return any(
        (one.subject, one.geography, one.purpose, one.unit) == asked and one.valid_from > factor.valid_from
        for one in known
    )


def _by_set(factor: Factor) -> dict[str, str]:
    rates = {str(gwp_set): rate_of(factor, Fraction(1), gwp_set) for gwp_set in GWP_SETS}
    return {name: decimal_text(rate.co2e, FACTOR_SCALE) for name, rate in rates.items()}


def _row(factor: Factor, at_ms: int | None) -> dict[str, Any]:
    return {
        "factor": factor.factor_id,
        "version": factor.version,
        "subject": factor.subject,
        "name": factor.name,
        "name_zh": factor.name_zh,
        "value": format(factor.value, "f"),
        "unit": factor.unit,
        "gases": factor.gases,
        "purpose": factor.purpose,
        "kind": factor.kind,
        "geography": factor.geography,
        "data_year": factor.data_year,
        "valid_to": factor.valid_to,
        "expired": at_ms is not None and is_expired(factor, at_ms),
        "own": is_own(factor),
        "source": factor.source,
    }


def _differs(one: Factor, other: Factor, name: str) -> bool:
    return name not in _IDENTITY and getattr(one, name) != getattr(other, name)


def _text(value: Fraction) -> str:
    exact = value * FACTOR_SCALE
    return decimal_text(round_half_even(exact.numerator, exact.denominator), FACTOR_SCALE)


def _issue(issue: Issue) -> dict[str, Any]:
    return {"code": issue.code, "place": issue.place, "message": issue.message, "remedy": issue.remedy}
