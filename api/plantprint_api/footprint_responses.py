"""What the api answers with about footprints: a batch with all that went into it, where a figure comes from, two compared."""

from typing import Annotated, Literal

from pydantic import Field

from plantprint_api.responses import (
    Answer,
    Batch,
    DecimalText,
    FactorUse,
    Instant,
    Remark,
    ScopeShare,
    SourceShare,
    StepShare,
    Text,
)

Quality = Literal["measured", "recovered", "estimated", "missing"]
Cut = Annotated[dict[str, DecimalText], Field(examples=[{"dyeing": "12.345"}])]


class FootprintPart(Answer):
    """Kg CO2e of a part of a product footprint; each cut adds up to it, gases under the set that is named for them."""

    kg_co2e: DecimalText
    market_based_kg_co2e: DecimalText | None
    by_step: Cut
    by_source: Cut
    by_scope: Cut = Field(description="Scopes 1 and 2, and the categories of scope 3.")
    by_stage: Cut
    by_gas: Cut
    by_origin: Cut = Field(
        description="fossil, biogenic (without CO2), land_use, and what its publisher did not split."
    )
    gas_masses_kg: Cut = Field(description="Biogenic and taken-up CO2 among them, which count as zero.")


class FootprintInput(Answer):
    """A lot or a material that went into the batch, and what came with it."""

    kind: Literal["lot", "material"]
    id: str = Field(examples=["DYE-7"])
    material: str
    step: str = Field(examples=["dyeing"])
    quantity: DecimalText
    unit: str = Field(examples=["kg"])
    share_percent: DecimalText | None = Field(description="What part of the lot that was.")
    kg_co2e: DecimalText
    reference: str = Field(description="The supplier's footprint or the background factor; empty for lots made here.")
    primary_data_share_percent: DecimalText | None = Field(description="As the supplier states it.")


class LeftPart(Answer):
    """What left the batch beside its good output, so that its product carries less than the batch caused."""

    kind: Literal["rework", "co-product"]
    quantity: DecimalText
    unit: str = Field(examples=["kg"])
    takers: list[str] = Field(
        examples=[["B-13"]], description="Who used it; for rework all that used any of the batch."
    )
    kg_co2e: DecimalText
    own_kg_co2e: DecimalText = Field(description="What of that was made here, not brought by materials.")


class CoProducts(Answer):
    """How the burden was divided among the products of the batch."""

    method: str = Field(examples=["physical"])
    reason: Text
    shares_percent: Cut
    credits_kg_co2e: Cut


class DataQualityRatings(Answer):
    """Averages weighted by emission: 1 is best, 5 worst or unknown."""

    technological: DecimalText | None
    geographical: DecimalText | None
    temporal: DecimalText | None


class UncertaintyInfo(Answer):
    """Of the whole, by error propagation: standard and expanded uncertainty, and the 95 % interval."""

    standard_kg_co2e: DecimalText
    k: int = Field(examples=[2])
    expanded_kg_co2e: DecimalText
    relative_expanded_percent: DecimalText
    interval_95_kg_co2e: list[DecimalText]
    from_factors_kg_co2e: DecimalText
    from_meters_kg_co2e: DecimalText


class ProductFootprint(Answer):
    """What the good output of a batch carries, location-based: `total` is `own` and `upstream`, to the last digit."""

    boundary: Literal["gate-to-gate", "cradle-to-gate"] = Field(
        description="Cradle to gate as far as uses of lots and materials are recorded; without any, gate to gate."
    )
    gwp_set: str = Field(examples=["as published"])
    gases_gwp_set: str = Field(examples=["AR6"], description="The set that `by_gas` and `by_origin` are under.")
    quantity: DecimalText | None = Field(description="Good output; the ordered quantity until one is reported.")
    unit: str = Field(examples=["kg"])
    kg_co2e: DecimalText
    kg_co2e_per_unit: DecimalText | None
    market_based_kg_co2e: DecimalText | None = Field(description="Null where the plant model names no market.")
    market_based_kg_co2e_per_unit: DecimalText | None
    own: FootprintPart
    upstream: FootprintPart
    total: FootprintPart
    inputs: list[FootprintInput]
    left: list[LeftPart]
    ancestors: int = Field(description="Lots that a part of this one comes from.")
    co_products: CoProducts | None
    primary_data_share_percent: DecimalText | None
    data_quality: DataQualityRatings | None
    uncertainty: UncertaintyInfo
    factors: list[FactorUse]
    incomplete: bool
    reasons: list[Remark] = Field(description="Why it is incomplete.")
    remarks: list[Remark]


class BatchFootprint(Batch):
    """The partial footprint of a batch and what it consists of, location-based, and its footprint as a product."""

    gwp_set: str = Field(examples=["as published"])
    known_at: Instant | None = Field(description="The instant that was asked for; null for now.")
    product_footprint: ProductFootprint | None = Field(
        default=None, description="Null before a plant model was applied."
    )
    at: Instant = Field(description="The site's time at which this was known.")
    boundary: Literal["gate-to-gate"] = "gate-to-gate"
    method: Literal["location-based"] = "location-based"
    direct_kg_co2e: DecimalText | None = Field(description="Posted from processing; null while the batch runs.")
    idle_kg_co2e: DecimalText | None = Field(description="Posted from idle time; null while the batch runs.")
    by_step: list[StepShare]
    by_source: list[SourceShare]
    by_scope: list[ScopeShare]
    quality: dict[str, float] = Field(
        description="Shares of measured, recovered, estimated and missing.", examples=[{"measured": 1.0}]
    )
    factors: list[FactorUse]
    issues: list[Remark]


class Sentences(Answer):
    en: list[str]
    zh: list[str]


class PostingInfo(Answer):
    """A row of the ledger as it was written; a correction is a reversal and a new row, each with its cause."""

    hour_at: Instant
    work_unit: str = Field(examples=["l1-dye"])
    step: str = Field(examples=["dyeing"])
    source: str = Field(examples=["grid"])
    entered_at: Instant
    quality: Quality
    portion: Literal["direct", "idle"]
    amount: DecimalText
    cause: str = Field(examples=["settled"])
    known_at: Instant


class IntervalInfo(Answer):
    hour_at: Instant
    amount: DecimalText
    quality: Quality = Field(description="The worst in the hour.")
    missing_s: float


class ReadingInfo(Answer):
    channel: str = Field(examples=["gw-1/l1-dye.energy"])
    at: Instant
    value: DecimalText
    unit: str = Field(examples=["kWh"])
    quality: Quality


class MeterInfo(Answer):
    """A meter behind the figure: what it counted by hour, and the readings that this comes from."""

    meter: str = Field(examples=["l1-dye"])
    name: Text
    unit: str = Field(examples=["kWh"])
    intervals: list[IntervalInfo]
    readings: list[ReadingInfo]


class InputInfo(Answer):
    kind: Literal["lot", "material"]
    id: str
    material: str
    step: str
    quantity: DecimalText
    unit: str
    reference: str
    kg_co2e: DecimalText


class Explanation(Answer):
    """A line of a footprint with everything behind it."""

    site: str = Field(examples=["dyehouse"])
    batch: str = Field(examples=["B-12"])
    step: str | None
    source: str | None
    own_kg_co2e: DecimalText = Field(description="Of the batch's own postings that fit.")
    upstream_kg_co2e: DecimalText = Field(description="Of what came with lots and materials, as far as it fits.")
    amounts: list[SourceShare]
    factors: list[FactorUse]
    rules: Sentences = Field(description="How the amounts came to the batch, from the plant model.")
    hours: list[Instant] = Field(description="Every hour with postings that fit; details are of the latest.")
    postings: list[PostingInfo]
    meters: list[MeterInfo]
    readings_from: Instant | None = Field(
        description="Raw readings of hours before were dropped; what the meters counted and the postings stay."
    )
    inputs: list[InputInfo]
    is_cut: bool = Field(description="True when there is more than is shown; narrow it by step, source or hour.")


class ComparedBatch(Answer):
    batch: str
    product: str
    kg_co2e: DecimalText
    quantity: DecimalText | None
    unit: str
    incomplete: bool


class EffectInfo(Answer):
    """By how much a source in a step moved the footprint: used more or less, another part of the mix, another factor."""

    step: str = Field(examples=["dyeing"])
    source: str = Field(examples=["grid"])
    scope: str = Field(examples=["2"])
    activity_kg_co2e: DecimalText
    mix_kg_co2e: DecimalText
    factor_kg_co2e: DecimalText


class ComparisonInfo(Answer):
    """Why two footprints differ; the effects add up to the difference."""

    site: str = Field(examples=["dyehouse"])
    a: ComparedBatch
    b: ComparedBatch
    per_unit: str | None = Field(description="The declared unit of the figures; null where whole batches are compared.")
    before_kg_co2e: DecimalText
    after_kg_co2e: DecimalText
    difference_kg_co2e: DecimalText
    effects: list[EffectInfo]
    by_cause: Cut
    sentences: Sentences
