"""Oracle: what a unit of something emits, by component and gas: factors, and factors by the hour, in kg x 10^12."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oracle.oracle_lots import FACTOR
from oracle.oracle_numbers import HOUR_MS, converted, half_even, number, r1
from oracle.oracle_time import instant

Body = Mapping[str, Any]
STAGES = {"material": "raw materials", "transport": "distribution", "waste": "end of life"}
AR6 = {"co2_fossil": "1", "co2_biogenic": "0", "ch4_fossil": "29.8", "ch4_biogenic": "27", "n2o": "273"}


def is_known(fact: Body, known_at: str | None) -> bool:
    return known_at is None or not fact.get("known_at") or instant(fact["known_at"]) <= instant(known_at)


def library_of(document: Body, known_at: str | None) -> dict[str, Body]:
    """The newest version of each factor that is known."""
    known = [factor for factor in document.get("factors", ()) if is_known(factor, known_at)]
    return {factor["factor_id"]: factor for factor in sorted(known, key=lambda one: one["version"])}


@dataclass(frozen=True)
class Rate:
    """Per unit, in kg x 10^12: by component, by gas under AR6 (as published where it is not split), masses."""

    components: Mapping[str, int]
    gases: Mapping[str, int]
    masses: Mapping[str, int]
    stage: str
    references: tuple[tuple[str, int], ...]

    @property
    def reference(self) -> str:
        return ", ".join(f"{name}@{version}" for name, version in self.references)


def rate_of(factor: Body, unit: str) -> Rate:
    ratio = converted(unit, factor["unit"])
    assert ratio is not None, "the test's factors fit"
    scale = ratio * FACTOR
    whole = half_even(number(factor["value"]) * scale)
    component = factor.get("component", "life_cycle")
    parts = dict(part.split(":") for part in factor.get("parts", "").split()) or {component: factor["value"]}
    shares = r1(whole, [half_even(number(parts[name]) * FACTOR) for name in sorted(parts)])
    methane = f"ch4_{factor.get('ch4_origin', 'fossil')}"
    told = {"co2_fossil": "co2_fossil_kg", methane: "ch4_kg", "n2o": "n2o_kg", "co2_biogenic": "co2_biogenic_kg"}
    masses = {gas: number(factor[column]) for gas, column in told.items() if number(factor.get(column) or 0)}
    gases = {gas: half_even(mass * number(AR6[gas]) * scale) for gas, mass in masses.items()}
    return Rate(
        dict(zip(sorted(parts), shares, strict=True)),
        gases if "n2o_kg" in factor else {"unsplit": whole},
        {gas: half_even(mass * scale) for gas, mass in masses.items()},
        STAGES.get(component, "production"),
        ((factor["factor_id"], factor["version"]),),
    )


class Rates:
    """What a unit of a source emits that entered in some hour."""

    def __init__(self, document: Body, model: Body, library: Mapping[str, Body], known_at: str | None) -> None:
        self.sources = {source["id"]: source for source in model["sources"]}
        self.library = library
        self.hours: dict[str, dict[int, Body]] = {}
        self.versions: dict[str, int] = {}  # of a series as a whole: how many files of it are known
        blocks = [block for block in document.get("factor_series", ()) if is_known(block, known_at)]
        for block in sorted(blocks, key=lambda one: instant(one["known_at"]) if one.get("known_at") else 0):
            hours = self.hours.setdefault(block["factor_id"], {})
            self.versions[block["factor_id"]] = self.versions.get(block["factor_id"], 0) + 1
            for at, direct, whole in block["rows"]:
                is_whole = block["purpose"] == "footprint"
                rest = number(whole) - number(direct)
                parts = {"parts": f"generation:{direct} upstream:{rest}"} if is_whole and rest >= 0 else {}
                component = "life_cycle" if is_whole else "generation"
                name = {"factor_id": block["factor_id"], "unit": "kWh", "component": component}
                hours[instant(at)] = {**name, "value": whole if is_whole else direct, **parts}

    def at(self, source: str, entered_ms: int) -> Rate | None:
        body = self.sources[source]
        if body["factor"] in self.hours:
            factor = self.hours[body["factor"]].get(entered_ms // HOUR_MS * HOUR_MS)
        else:
            factor = self.library.get(body["factor"])
        version = {"version": self.versions[body["factor"]]} if body["factor"] in self.versions else {}
        return None if factor is None else rate_of({**factor, **version}, body["unit"])
