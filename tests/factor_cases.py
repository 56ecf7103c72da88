"""Factors, sources and postings that tests of the factor library and of views build their cases from."""

from decimal import Decimal
from typing import Any

from plantprint.factors import Factor, builtin_factors, latest
from plantprint.facts import Quality
from plantprint.ledger import PostingKey
from plantprint.plant.model import Source
from plantprint.times import HOUR_MS, parse_instant

BUILTIN = builtin_factors()
LIBRARY = latest(BUILTIN)
T0 = parse_instant("2024-01-01T00:00:00Z")


def a_factor(factor_id: str, value: str = "0.5", **columns: Any) -> Factor:
    body = LIBRARY["direct.co2"].to_json() | {"factor_id": factor_id, "value": value, "unit": "kWh", "gases": "CO2e"}
    body |= {
        "co2_fossil_kg": None,
        "basis": "published",
        "gwp_set": "AR5",
        "component": "generation",
        "geography": "CN",
    }
    return Factor.from_json(body | {"subject": "electricity.grid", "purpose": "inventory"} | columns)


def a_source(name: str, factor: str, unit: str = "kWh", scope: int = 2, kind: str = "grid") -> Source:
    body = {"id": name, "name": {"en": name}, "unit": unit, "kind": kind, "factor": factor, "scope": scope}
    return Source.model_validate(body)


def a_posting(source: str, hour: int = 0, account: str = "b-1", start_ms: int = T0) -> PostingKey:
    at_ms = start_ms + hour * HOUR_MS
    return PostingKey(at_ms, "batch", account, "l1-dye", "dyeing", source, at_ms, Quality.MEASURED)


def kg(emission: int) -> Decimal:
    return Decimal(emission).scaleb(-18)
