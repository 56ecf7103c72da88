"""Why two footprints differ: per step and source the effect of activity, of mix and of factors, adding up exactly.

Per declared unit. Sources of one step that are counted in one unit (grid and rooftop PV in kWh) are one activity with a
mix. With T the activity, m a source's part of it and f its factor, a source emits T·m·f, and the change is

    activity  ΔT · (m₀f₀ + m₁f₁) / 2     less steam, a machine that needs less
    mix       Δm · (T₁f₀ + T₀f₁) / 2     PV instead of grid
    factor    Δf · (T₀m₀ + T₁m₁) / 2     the same kWh with another factor

the mean of going from before to after and of going back, so that swapping the two only turns the sign. A source that is
new or gone has no factor effect. Fractions: nothing is rounded.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

from plantprint.quantities import EMISSION_SCALE, MICRO, decimal_text, round_half_even

_DIGITS = 10**9


@dataclass(frozen=True, slots=True)
class Activity:
    """What a step used of a source: millionths of `unit`, and what that emitted by scope, in kg x EMISSION_SCALE."""

    step: str
    source: str
    unit: str
    amount: int
    emission: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two footprints; `quantity_micro` of its declared unit, None to compare whole amounts."""

    activities: tuple[Activity, ...]
    quantity_micro: int | None = None

    def __post_init__(self) -> None:
        if self.quantity_micro is not None and self.quantity_micro <= 0:
            raise ValueError("a footprint per unit needs a quantity above zero")

    @property
    def scale(self) -> Fraction:
        """What an integer emission is multiplied by to be kg per declared unit."""
        return (
            Fraction(MICRO, self.quantity_micro * EMISSION_SCALE)
            if self.quantity_micro
            else Fraction(1, EMISSION_SCALE)
        )


class Effect(NamedTuple):
    """Kg CO2e (per declared unit) by which a source in a step moved the footprint, within one scope."""

    step: str
    source: str
    scope: str
    activity: Fraction
    mix: Fraction
    factor: Fraction

    @property
    def total(self) -> Fraction:
        return self.activity + self.mix + self.factor


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both footprints and every effect between them, in kg CO2e (per declared unit); effects add up exactly."""

    before: Fraction
    after: Fraction
    effects: tuple[Effect, ...]

    @property
    def difference(self) -> Fraction:
        return self.after - self.before

    def by(self, name: str) -> dict[str, Fraction]:
        """Differences by `step`, `source` or `scope`."""
        place = Effect._fields.index(name)
        sums: defaultdict[str, Fraction] = defaultdict(Fraction)
        for effect in self.effects:
            sums[str(effect[place])] += effect.total
        return dict(sorted(sums.items()))

    def by_cause(self) -> dict[str, Fraction]:
        """Differences by `activity`, `mix` and `factor`."""
        return {
            "activity": sum((effect.activity for effect in self.effects), Fraction(0)),
            "mix": sum((effect.mix for effect in self.effects), Fraction(0)),
            "factor": sum((effect.factor for effect in self.effects), Fraction(0)),
        }

    def to_json(self) -> dict[str, Any]:
        """Decimal text with nine decimals; effects are rounded cumulatively, so that they add up to the difference."""
        parts = [value for effect in self.effects for value in (effect.activity, effect.mix, effect.factor)]
        texts = iter(_texts(parts))
        return {
            "before_kg_co2e": _text(self.before),
            "after_kg_co2e": _text(self.after),
            "difference_kg_co2e": _text(self.difference),
            "effects": [
                {
                    "step": effect.step,
                    "source": effect.source,
                    "scope": effect.scope,
                    "activity_kg_co2e": next(texts),
                    "mix_kg_co2e": next(texts),
                    "factor_kg_co2e": next(texts),
                }
                for effect in self.effects
            ],
        }


def compare(before: Side, after: Side) -> Comparison:
    """What makes the difference between two footprints; raises `ValueError` when only one of them is per unit."""
    if (before.quantity_micro is None) != (after.quantity_micro is None):
        raise ValueError("one footprint is per declared unit and the other is not; give both quantities, or none")
    cells: defaultdict[tuple[str, str], dict[str, tuple[_Cell, _Cell]]] = defaultdict(dict)
    old, new = _cells(before), _cells(after)
    for step, unit, source in sorted(old.keys() | new.keys()):
        pair = (old.get((step, unit, source), _NOTHING), new.get((step, unit, source), _NOTHING))
        cells[step, unit][source] = pair
    effects: list[Effect] = []
    for (step, _), sources in cells.items():
        effects += _group_effects(step, sources)
    return Comparison(_total(old.values()), _total(new.values()), tuple(sorted(effects)))


class _Cell(NamedTuple):
    """Amount and emissions by scope, per declared unit, exact."""

    amount: Fraction
    emission: Mapping[str, Fraction]


_NOTHING = _Cell(Fraction(0), {})


def _cells(side: Side) -> dict[tuple[str, str, str], _Cell]:
    cells: dict[tuple[str, str, str], _Cell] = {}
    for one in side.activities:
        key = (one.step, one.unit, one.source)
        known = cells.get(key, _NOTHING)
        emission = dict(known.emission)
        for scope, value in one.emission.items():
            emission[scope] = emission.get(scope, Fraction(0)) + value * side.scale
        cells[key] = _Cell(known.amount + one.amount * side.scale, emission)
    return cells


def _total(cells: Iterable[_Cell]) -> Fraction:
    return sum((value for cell in cells for value in cell.emission.values()), Fraction(0))


def _group_effects(step: str, sources: Mapping[str, tuple[_Cell, _Cell]]) -> list[Effect]:
    """The effects of sources that share an activity; where their amounts cancel out each is an activity of its own."""
    whole = tuple(sum((pair[side].amount for pair in sources.values()), Fraction(0)) for side in (0, 1))
    cancels = any(
        whole[side] == 0 and any(pair[side].amount for pair in sources.values()) for side in (0, 1)
    )  # such as stock taken and put back
    effects: list[Effect] = []
    for source, (old, new) in sources.items():
        t0, t1 = (old.amount, new.amount) if cancels else whole
        m0, m1 = (old.amount / t0 if t0 else None), (new.amount / t1 if t1 else None)
        part0, part1 = _known(m0, m1), _known(m1, m0)
        for scope in sorted(old.emission.keys() | new.emission.keys()):
            e0, e1 = old.emission.get(scope, Fraction(0)), new.emission.get(scope, Fraction(0))
            f0, f1 = (e0 / old.amount if old.amount else None), (e1 / new.amount if new.amount else None)
            g0, g1 = _known(f0, f1), _known(f1, f0)
            activity = (t1 - t0) * (part0 * g0 + part1 * g1) / 2
            mix = (part1 - part0) * (t1 * g0 + t0 * g1) / 2
            effects.append(Effect(step, source, scope, activity, mix, e1 - e0 - activity - mix))
    return effects


def _known(value: Fraction | None, other: Fraction | None) -> Fraction:
    """What one side does not have is taken to be as on the other side, so that it has no effect."""
    return next((one for one in (value, other) if one is not None), Fraction(0))


def _text(value: Fraction) -> str:
    return decimal_text(round_half_even(value.numerator * _DIGITS, value.denominator), _DIGITS)


def _texts(values: Iterable[Fraction]) -> list[str]:
    """Rule R1's cumulative rounding: the texts add up to the text of the sum."""
    texts, upto, given = [], Fraction(0), 0
    for value in values:
        upto += value
        whole = round_half_even(upto.numerator * _DIGITS, upto.denominator)
        texts.append(decimal_text(whole - given, _DIGITS))
        given = whole
    return texts
