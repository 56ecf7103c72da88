"""What a footprint is made of: gases, scopes and components, life cycle stages, and what could not be split."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plantprint.gwp import GwpSet
from plantprint.quantities import EMISSION_SCALE, decimal_text
from plantprint.rates import UNSPLIT, Rate, scope_of


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All integers x EMISSION_SCALE; `by_gas`, `by_component`, `by_scope` and `by_stage` each add up to the emission.

    `by_gas` is kg CO2e under `gwp_set`, with `unsplit` for factors that give no gases; `masses` is kg of each gas, biogenic
    and taken-up CO2 among them. `by_scope` has the categories of scope 3 (3.1, 3.3, 3.4, 3.5). `not_convertible` names
    factors that keep a GWP set of their own, `not_split` life cycle factors whose scopes cannot be told apart.
    """

    purpose: str
    gwp_set: GwpSet | None
    by_gas: dict[str, int]
    masses: dict[str, int]
    by_component: dict[str, int]
    by_scope: dict[str, int]
    by_stage: dict[str, int]
    not_convertible: tuple[tuple[str, str, str], ...]
    not_split: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values; masses and emissions as decimal text."""
        biogenic = {
            gas: mass for gas, mass in self.masses.items() if gas in ("co2_biogenic", "co2_uptake", "ch4_biogenic")
        }
        return {
            "purpose": self.purpose,
            "gwp_set": self.gwp_set,
            "by_gas": _texts(self.by_gas),
            "gas_masses_kg": _texts(self.masses),
            "biogenic_kg": _texts(biogenic),
            "by_component": _texts(self.by_component),
            "by_scope_category": _texts(self.by_scope),
            "by_stage": _texts(self.by_stage),
            "not_convertible": [
                {"source": source, "factor": factor, "gwp_set": gwp_set}
                for source, factor, gwp_set in self.not_convertible
            ],
            "scopes_not_split": list(self.not_split),
        }


class BreakdownSums:
    """Running sums of what each amount and its rate add."""

    def __init__(self) -> None:
        self._gas: defaultdict[str, int] = defaultdict(int)
        self._mass: defaultdict[str, int] = defaultdict(int)
        self._component: defaultdict[str, int] = defaultdict(int)
        self._scope: defaultdict[str, int] = defaultdict(int)
        self._stage: defaultdict[str, int] = defaultdict(int)
        self._fixed: set[tuple[str, str, str]] = set()
        self._whole: set[str] = set()

    def add(self, source: str, source_scope: int, amount: int, rate: Rate) -> None:
        for gas, per_unit in rate.by_gas.items():
            self._gas[gas] += amount * per_unit
        for gas, per_unit in rate.masses.items():
            self._mass[gas] += amount * per_unit
        for component, per_unit in rate.by_component.items():
            self._component[component] += amount * per_unit
            self._scope[scope_of(component, source_scope)] += amount * per_unit
            if component == "life_cycle":
                self._whole.add(source)
        self._stage[rate.stage] += amount * rate.co2e
        self._fixed.update((source, factor, gwp_set) for factor, gwp_set in rate.fixed)

    def result(self, purpose: str | None, gwp_set: GwpSet | None) -> Breakdown:
        return Breakdown(
            purpose or "any",
            gwp_set,
            _sorted(self._gas) if gwp_set else {UNSPLIT: sum(self._gas.values())},
            _sorted(self._mass),
            _sorted(self._component),
            _sorted(self._scope),
            _sorted(self._stage),
            tuple(sorted(self._fixed)),
            tuple(sorted(self._whole)),
        )


def _sorted(sums: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(sums.items()))


def _texts(values: Mapping[str, int]) -> dict[str, str]:
    return {name: decimal_text(value, EMISSION_SCALE) for name, value in values.items()}
