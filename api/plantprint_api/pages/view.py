"""Numbers, ages, times and bar segments as the pages write them; `static/format.js` does the same in the browser."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from plantprint.plant import Plant
from plantprint.product import OPEN_STEP
from plantprint.times import from_ms, parse_instant
from plantprint_api.pages.text import Language, issue_texts, name_in, strings, table

UNKNOWN = "—"
SMALLEST = Decimal("0.01")  # what is less than this is not nothing
COLOURS = 8  # classes c0 to c7 of the style sheet, for steps in the order of the plant model
SHARED_STEP = "shared"  # the accountant's word for what no step used
_CONVERTED = re.compile(r"converted from per (.+) to per (.+)")
_DATA_YEAR = re.compile(r"data of (\d{4})")
QUALITIES = ("measured", "recovered", "estimated", "missing")


@dataclass(frozen=True)
class Segment:
    """A part of a bar: place and width in percent of the whole."""

    id: str
    label: str
    css: str
    start: float
    width: float
    text: str


def zone(name: str) -> tzinfo:
    """The time zone, or UTC where the machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC


@dataclass(frozen=True)
class View:
    """What a template needs to write for one reader and site."""

    language: Language
    plant: Plant | None
    timezone: tzinfo

    def t(self, key: str, **values: str | int) -> str:
        return strings(self.language)[key].format(**values)

    def number(self, value: Any, digits: int) -> str:
        number = _decimal(value)
        if number is None:
            return UNKNOWN
        # Half up, as browsers do; Python alone would round half to even.
        return f"{number.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):z,.{digits}f}"

    def rate(self, value: Any) -> str:
        number = _decimal(value)
        return self.number(value, 1 if number is not None and abs(number) < 1000 else 0)

    def mass(self, value: Any) -> str:
        number = _decimal(value)
        if number is not None and 0 < number < SMALLEST:
            return f"<{SMALLEST}"
        return self.number(value, 2 if number is not None and abs(number) < 10_000 else 1)

    def percent(self, share: Any) -> str:
        number = _decimal(share)
        if number is None:
            return UNKNOWN
        return f"{self.number(number * 100, 0 if number in (0, 1) else 1)} %"

    def age(self, value: Any) -> str:
        number = _decimal(value)
        if number is None:
            return UNKNOWN
        age_s = float(number)
        if age_s < 10:
            return self.t("time.s", n=f"{age_s:.1f}")
        for limit, size, key in ((120, 1, "time.s"), (7200, 60, "time.min"), (172_800, 3600, "time.h")):
            if age_s < limit:
                return self.t(key, n=int(age_s // size))
        return self.t("time.d", n=int(age_s // 86_400))

    def time(self, instant: Any) -> str:
        at = _local(instant, self.timezone)
        return UNKNOWN if at is None else f"{at:%m-%d %H:%M}"

    def brief(self, instant: Any, at: Any) -> str:
        """The time of day alone when it is within 20 hours of `at`."""
        start, end = _local(instant, self.timezone), _local(at, self.timezone)
        near = start is not None and end is not None and abs(end - start) < timedelta(hours=20)
        return self.time(instant)[-5:] if near else self.time(instant)

    def span(self, start: Any, end: Any) -> str:
        """From when to when: the second day only where it is another, one time where both are the same minute."""
        first, last = self.time(start), self.time(end)
        if end is None:
            return UNKNOWN if start is None else f"{first}–"
        if first == last:
            return first
        return f"{first}–{last[-5:] if first[:5] == last[:5] else last}"

    def full_time(self, instant: Any) -> str:
        at = _local(instant, self.timezone)
        return UNKNOWN if at is None else f"{at:%Y-%m-%d %H:%M:%S} {_offset(at)}"

    def step_name(self, step: str) -> str:
        named = {s.id: s.name.model_dump() for s in self.plant.steps} if self.plant else {}
        if step in named:
            return name_in(self.language, named[step], step)
        return {"": self.t("step.none"), SHARED_STEP: self.t("step.shared"), OPEN_STEP: self.t("step.open")}.get(
            step, step
        )

    def source_name(self, source: str) -> str:
        """Of a source or a material of the plant model; anything else, such as a lot, has its id."""
        named = {s.id: s.name.model_dump() for s in self.plant.sources} if self.plant else {}
        named |= {m.id: m.name.model_dump() for m in self.plant.materials} if self.plant else {}
        return name_in(self.language, named.get(source, {}), source)

    def source_unit(self, source: str) -> str:
        """The unit in which the ledger keeps a source, empty where the plant model does not have it any more."""
        return next((self.unit(s.unit) for s in self.plant.sources if s.id == source), "") if self.plant else ""

    def unit(self, unit: str | None) -> str:
        """As people write it: Nm³ for Nm3."""
        return re.sub(r"(?<=m)3$", "³", unit or "")

    def gas_name(self, gas: str) -> str:
        if gas == "unsplit":
            return self.t("origin.not_split")
        return self.t(f"gas.{gas}") if f"gas.{gas}" in table() else gas

    def cause(self, cause: str) -> str:
        """Why a posting was made; an unknown cause is shown as the ledger has it."""
        what = cause.removeprefix("reversal: ")
        if what != cause:
            return self.t("cause.reversal", what=self.cause(what))
        if what == "settled":
            return self.t("cause.settled")
        return self.t("cause.shipment") if what == "shipment" else self.t("cause.late", what=what)

    def issue(self, issue: Mapping[str, Any]) -> dict[str, str]:
        """Message and remedy in the reader's language; `original` is the exact English one where it was replaced."""
        known = issue_texts(self.language).get(issue.get("code", ""))
        original = {"message": issue["message"], "remedy": issue["remedy"], "original": ""}
        return {**known, "original": issue["message"]} if known else original

    def factor_reason(self, reason: str) -> str:
        """Why a factor was taken: the core's words where English is read or no Chinese ones are known."""
        return reason if self.language == "en" else "；".join(self._reason_part(part) for part in reason.split("; "))

    def _reason_part(self, part: str) -> str:
        if part.startswith("named for ") and part.endswith(" in the plant model"):
            return self.t("why.named")
        if year := _DATA_YEAR.fullmatch(part):
            return self.t("why.year", year=year[1])
        if units := _CONVERTED.fullmatch(part):
            return self.t("why.converted", a=self.unit(units[1]), b=self.unit(units[2]))
        return self.t("why.proxy") if part.startswith("a proxy for a place") else part

    def signed(self, value: Any, digits: int) -> str:
        """With its sign; 0 alone where it is exactly nothing."""
        number = _decimal(value)
        if number is None or number == 0:
            return UNKNOWN if number is None else "0"
        return f"{'+' if number > 0 else ''}{self.number(value, digits)}"

    def exact(self, value: Any) -> str:
        """All digits, for the title of a rounded figure."""
        number = _decimal(value)
        return UNKNOWN if number is None else f"{number:f}"

    def line_name(self, line: str) -> str:
        named = {w.id: w.name.model_dump() for w in self.plant.work_centers} if self.plant else {}
        return name_in(self.language, named.get(line, {}), line)

    def unit_name(self, unit: str) -> str:
        units = [u for w in self.plant.work_centers for u in w.work_units] if self.plant else []
        return name_in(self.language, {u.id: u.name.model_dump() for u in units}.get(unit, {}), unit)

    def step_css(self, step: str | None) -> str:
        order = [s.id for s in self.plant.steps] if self.plant else []
        return f"c{order.index(step) % COLOURS}" if step in order else "cx"

    def steps(self, by_step: Mapping[str, Any] | None) -> list[Segment]:
        """Segments of a bar by step, in the order of the model."""
        order = [s.id for s in self.plant.steps] if self.plant else []
        names = sorted(by_step or (), key=lambda s: (order.index(s) if s in order else len(order), s))
        return segments([(s, self.step_name(s), self.step_css(s), (by_step or {})[s]) for s in names], self.mass)

    def sources(self, by_source: Mapping[str, Any] | None) -> list[Segment]:
        """Each source against the largest: bars of their own, so every one starts at zero."""
        values = {source: _decimal(value) or Decimal(0) for source, value in (by_source or {}).items()}
        largest = max(values.values(), default=Decimal(0)) or Decimal(1)
        return [
            Segment(s, self.source_name(s), "src", 0, max(0.0, float(v / largest) * 100), self.rate(v))
            for s, v in sorted(values.items(), key=lambda item: -item[1])
        ]

    def quality(self, shares: Mapping[str, Any] | None) -> list[Segment]:
        absent = 0 if shares else None
        present = [(q, self.t(f"quality.{q}"), f"q-{q}", (shares or {}).get(q, absent)) for q in QUALITIES]
        return segments(present, self.percent)


def segments(parts: Sequence[tuple[str, str, str, Any]], write: Any) -> list[Segment]:
    """(id, label, css, value) side by side, widths by value; unknown and negative values get no width."""
    values = [max(_decimal(value) or Decimal(0), Decimal(0)) for *_, value in parts]
    whole = sum(values) or Decimal(1)
    found: list[Segment] = []
    start = Decimal(0)
    for (name, label, css, value), size in zip(parts, values, strict=True):
        width = size / whole * 100
        found.append(Segment(name, label, css, round(float(start), 3), round(float(width), 3), write(value)))
        start += width
    return found


def budget_bar(rate: Any, limit: Any) -> float:
    """How far the bar of a line reaches, in percent, where the limit stands at 80."""
    number, most = _decimal(rate), _decimal(limit)
    return min(100.0, float(number / most) * 80) if number is not None and most else 0.0


def _offset(at: datetime) -> str:
    minutes = int((at.utcoffset() or timedelta()).total_seconds()) // 60
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    rest = f":{minutes % 60:02d}" if minutes % 60 else ""
    return f"UTC{sign}{minutes // 60}{rest}" if minutes else "UTC"


def _decimal(value: Any) -> Decimal | None:
    try:
        number = None if value is None else Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _local(instant: Any, timezone: tzinfo) -> datetime | None:
    if isinstance(instant, datetime):
        return instant.astimezone(timezone)
    return from_ms(parse_instant(instant)).astimezone(timezone) if instant else None
