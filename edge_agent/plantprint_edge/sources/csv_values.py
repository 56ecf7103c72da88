"""Cells of tables → exact integers and instants, whatever the habits of their numbers and stamps; for all that read CSV."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from plantprint.quantities import INT64_MAX, round_half_even
from plantprint.times import to_ms

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
# The end of a day, as load curves write it.
_DAY_END = re.compile(r"(?<!:)\b24(:?)00(?=\b|:?00\b)")
_YEARS = (datetime(1970, 1, 2), datetime(9000, 1, 1))  # noqa: DTZ001 - wall clock


class CellError(ValueError):
    """A cell, row or header that cannot be understood; the text says what to do."""


def position(header: Sequence[str], name: str) -> int:
    """Where a column stands; raises `CellError`."""
    if header.count(name) != 1:
        how = "stands more than once" if name in header else "is missing"
        names = ", ".join(map(repr, header[:50]))
        raise CellError(f"column {name!r} {how}; the file has {names[:2000]}")
    return header.index(name)


def factor(decimals: int, period_s: int, *, mean_rate: bool) -> Fraction:
    """What one unit in a column is worth in 10^-decimals: a mean rate counts per hour, for the period's length."""
    hours = Fraction(period_s, 3600) if mean_rate else Fraction(1)
    return hours * Fraction(10**decimals)


def scaled(text: str, worth: Fraction, decimals: int, *, exact: bool) -> int:
    """The number in `text` times `worth`; raises `CellError`.

    With `exact` a remainder is an error, for amounts that add up; without it the rest is rounded half to even.
    """
    if not _NUMBER.fullmatch(text):
        raise CellError(f"{text[:100]!r} is not a number; correct the cell or leave it empty")
    number = Decimal(text)
    if abs(number.adjusted()) > 400:
        raise CellError(f"{text[:100]} is too large for decimals: {decimals}")
    amount = Fraction(number) * worth
    if amount.denominator == 1:
        value = amount.numerator
    elif exact:
        raise CellError(f"{text[:100]} is not exact with decimals: {decimals}; {_enough(amount, decimals)}")
    else:
        value = round_half_even(amount.numerator, amount.denominator)
    if abs(value) > INT64_MAX:
        raise CellError(f"{text[:100]} is too large for decimals: {decimals}")
    return value


def _enough(amount: Fraction, decimals: int) -> str:
    more = next((n for n in range(1, 13 - decimals) if (amount * 10**n).denominator == 1), None)
    return f"set decimals: {decimals + more}" if more else "no number of decimals makes it exact"


class LocalTime:
    """Stamps in one format and zone. A day may end at 24:00; with `day_end` 00:00 is the end of the day it names."""

    def __init__(self, time_format: str, timezone: str, *, day_end: bool = False) -> None:
        self._format = time_format
        self._zone = ZoneInfo(timezone)
        self._day_end = day_end

    def read(self, text: str) -> datetime:
        """The wall time in `text`, aware where it carries an offset; raises `CellError`."""
        try:
            stamp = self._parse(text)
        except (ValueError, OverflowError) as error:
            raise CellError(f"{text[:100]!r} does not match time_format {self._format!r}") from error
        if not _YEARS[0] <= stamp.replace(tzinfo=None) <= _YEARS[1]:
            raise CellError(f"{text[:100]!r} is no time of any plant")
        return stamp

    def instants(self, local: datetime) -> list[int]:
        """The instants that a clock on the wall shows as `local`: none, one or two, in order."""
        if local.tzinfo is not None:
            return [to_ms(local)]
        found = set()
        for fold in (0, 1):
            aware = local.replace(tzinfo=self._zone, fold=fold)
            if aware.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) == local:
                found.add(to_ms(aware.astimezone(UTC)))
        return sorted(found)

    def _parse(self, text: str) -> datetime:
        match self._format:
            case "iso":
                return datetime.fromisoformat(text)
            case "unix_s" | "unix_ms":
                if not _NUMBER.fullmatch(text) or Decimal(text).adjusted() > 15:
                    raise ValueError(text)
                ms = Decimal(text) * (1 if self._format == "unix_ms" else 1000)
                return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(ms))
            case _:
                ended = _DAY_END.sub(r"00\g<1>00", text) if "24" in text else text
                stamp = datetime.strptime(ended, self._format)  # noqa: DTZ007 - the zone is attached in `instants`
        at_midnight = (stamp.hour, stamp.minute, stamp.second) == (0, 0, 0)
        return stamp + timedelta(days=1) if at_midnight and (ended != text or self._day_end) else stamp
