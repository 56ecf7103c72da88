"""The statement of a shipped batch: what was known at shipment, frozen as canonical bytes under their own hash."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import orjson

from plantprint.footprint import BOUNDARY, Footprint
from plantprint.ledger import PostingKey
from plantprint.plant.model import Flow, Text
from plantprint.product import ProductFootprint
from plantprint.product_json import product_json
from plantprint.production import Batch, Shipment
from plantprint.quantities import EMISSION_SCALE, decimal_text, round_half_even
from plantprint.times import format_instant

FORMAT = "plantprint.statement.v1"
Status = Literal["provisional", "final", "revised"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement's identity, its canonical JSON, and the sha256 of that in hex."""

    shipment: str
    batch: str
    body: bytes
    body_hash: str


def build_statement(
    *,
    site: str,
    shipment: Shipment,
    batch: Batch,
    footprint: Footprint,
    product: ProductFootprint,
    period: tuple[int, int],
    net: Mapping[PostingKey, int],
    status: Status,
    missing_ms: int,
    plant_model_version: int,
    known_at_ms: int,
    exempted: Iterable[Flow] = (),
    rules: Iterable[Text] = (),
) -> Statement:
    """Freezes the footprint of `net`, the batch's postings as known at `known_at_ms`; equal facts give equal bytes.

    `product` is the same with all that went into the batch, `period` from when to when it was made, `rules` how its
    amounts were allocated. `exempted` are the plant's flows of disposition `outside`: what nobody carries, each with its
    reason.
    """
    result, whole = footprint.to_json(), product_json(product)
    sentences = [*rules]
    body = {
        "format": FORMAT,
        "site": site,
        "shipment": {
            "id": shipment.shipment,
            "at": format_instant(shipment.at_ms),
            "customer": shipment.customer,
            "quantity": _text(shipment.quantity_micro),
            "partial_footprint_kg_co2e": _part_shipped(footprint.emission, batch.quantity_micro, shipment),
            "product_footprint_kg_co2e": _part_shipped(product.kg, product.quantity_micro, shipment),
        },
        "batch": {"id": batch.batch, "product": batch.product, "quantity": _text(batch.quantity_micro)},
        "declared_unit": batch.unit,
        "boundary": BOUNDARY,
        "method": footprint.method,
        "reference_period": {"start": format_instant(period[0]), "end": format_instant(period[1])},
        "status": status,
        "incomplete": missing_ms > 0 or not footprint.complete or bool(product.reasons),
        "missing_ms": missing_ms,
        "partial_footprint_kg_co2e": result["kg_co2e"],
        "partial_footprint_kg_co2e_per_unit": result["kg_co2e_per_unit"],
        "breakdown": {
            name: result[name]
            for name in (
                "direct_kg_co2e",
                "idle_kg_co2e",
                "by_step",
                "by_source",
                "by_scope",
                "by_work_unit",
                "by_hour",
                "quality",
                "inventory",
            )
        },
        "product_footprint": whole,
        "allocation_rules": {"en": [text.en for text in sentences], "zh": [text.zh for text in sentences]},
        "factors": result["factors"],
        "issues": result["issues"],
        "exempted_emissions": [{"from": f.giver, "to": f.taker, "reason": f.reason} for f in exempted],
        "plant_model_version": plant_model_version,
        "known_at": format_instant(known_at_ms),
        "postings_sha256": postings_hash(net),
    }
    canonical = canonical_json(body)
    return Statement(shipment.shipment, batch.batch, canonical, hashlib.sha256(canonical).hexdigest())


def canonical_json(body: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: one text for one value."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def postings_hash(net: Mapping[PostingKey, int]) -> str:
    """The sha256 of the net postings as canonical JSON rows in the order of their keys, zero amounts left out."""
    rows = [[*key, str(amount)] for key, amount in sorted(net.items()) if amount]
    return hashlib.sha256(canonical_json(rows)).hexdigest()


def _text(amount: int | None) -> str | None:
    return None if amount is None else decimal_text(amount)


def _part_shipped(emission: int, made_micro: int | None, shipment: Shipment) -> str | None:
    """The shipment's share of the batch by quantity (all of it if none is named); None when that is unknown."""
    if shipment.quantity_micro is None:
        return decimal_text(emission, EMISSION_SCALE)
    if not made_micro:
        return None
    return decimal_text(round_half_even(emission * shipment.quantity_micro, made_micro), EMISSION_SCALE)
