"""What the api answers with. Amounts and rates are decimal text, instants RFC 3339 UTC with `Z`, unknown is null."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

DecimalText = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["12.345"])]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-24T08:00:00Z"])]
Status = Literal["live", "late", "missing"]
BatchStatus = Literal["planned", "running", "waiting", "finished", "shipped"]
FootprintStatus = Literal["provisional", "final", "revised"]
AlertState = Literal["pending", "firing", "resolved"]

Item = TypeVar("Item")


class Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Page(Answer, Generic[Item]):
    items: list[Item]
    next_cursor: str | None = Field(description="Pass as `cursor` for the rows after these; null at the end.")


class Text(Answer):
    """A name in the languages of the pages."""

    en: str = Field(default="", examples=["Dye house"])
    zh: str = Field(default="", examples=["印染厂"])


class Clock(Answer):
    kind: Literal["wall", "run", "data"]
    speed: int = 1


class Site(Answer):
    site: str = Field(examples=["dyehouse"])
    name: Text
    clock: Clock
    has_plant_model: bool = Field(description="Without one nothing is accounted: is the site's name mistyped?")


class WorkUnit(Answer):
    id: str = Field(examples=["l1-dye"])
    name: Text
    step: str | None = Field(examples=["dyeing"])


class WorkCenter(Answer):
    """A line with its present rate; the rate is null while nothing is known."""

    site: str = Field(examples=["dyehouse"])
    id: str = Field(examples=["line-1"])
    name: Text
    area: str
    budget_kg_co2e_per_hour: DecimalText | None
    work_units: list[WorkUnit]
    rate_kg_co2e_per_hour: DecimalText | None
    status: Status
    data_age_s: float | None = Field(examples=[0.8])


class Step(Answer):
    id: str = Field(examples=["dyeing"])
    name: Text


class SourceInfo(Answer):
    id: str = Field(examples=["grid"])
    name: Text
    unit: str = Field(examples=["kWh"])
    kind: str = Field(examples=["grid"])
    factor: str = Field(examples=["cn.grid.2023.zhejiang"])
    scope: int = Field(examples=[2])


LivePlant = Annotated[
    dict[str, Any],
    Field(
        description="The live picture of the plant as the accountant wrote it; fields only ever get more.",
        examples=[
            {
                "at": "2026-11-24T08:00:00.250Z",
                "rate_kg_co2e_per_hour": "123.4",
                "status": "live",
                "data_age_s": 0.8,
                "quality": {"measured": 0.98, "estimated": 0.0, "recovered": 0.02, "missing": 0.0},
                "by_step": {"dyeing": "80.1"},
                "by_source": {"grid": "70.2"},
                "today_kg_co2e": "934.1",
            }
        ],
    ),
]
LiveWorkCenter = Annotated[
    dict[str, Any],
    Field(
        description="The live picture of a line: rates in kg CO2e per hour by step, source and work unit.",
        examples=[
            {
                "site": "dyehouse",
                "id": "line-1",
                "at": "2026-11-24T08:00:00.250Z",
                "rate_kg_co2e_per_hour": "41.2",
                "status": "live",
                "data_age_s": 0.8,
                "by_step": {"dyeing": "30.1"},
                "by_source": {"grid": "20.2"},
                "work_units": [
                    {
                        "work_unit": "l1-dye",
                        "step": "dyeing",
                        "rate_kg_co2e_per_hour": "30.1",
                        "status": "live",
                        "data_age_s": 0.8,
                        "batches": ["B-12"],
                    }
                ],
                "budget": {"limit": "120", "state": "ok", "since": None},
            }
        ],
    ),
]


class SiteDetail(Site):
    model_version: int | None = Field(description="Version of the plant model in force; null before the first.")
    timezone: str = Field(examples=["Asia/Shanghai"])
    geography: str = Field(examples=["CN-ZJ"])
    steps: list[Step]
    sources: list[SourceInfo]
    work_centers: list[str] = Field(examples=[["line-1", "line-2"]])
    live: LivePlant | None


class Batch(Answer):
    """A production batch; while it runs its footprint includes the open hours and grows."""

    site: str = Field(examples=["dyehouse"])
    batch: str = Field(examples=["B-12"])
    product: str = Field(examples=["cotton-poplin-navy"])
    quantity: DecimalText | None
    unit: str = Field(examples=["kg"])
    status: BatchStatus
    started_at: Instant | None
    ended_at: Instant | None
    output_reported: bool = Field(
        description="Good output of it was reported. Without it a batch is `waiting` after a job, until `batch_rests_s_max` of the "
        "plant model has passed; then it counts as `finished`."
    )
    partial_footprint_kg_co2e: DecimalText | None = Field(description="Gate to gate; null while nothing is known.")
    kg_co2e_per_unit: DecimalText | None = Field(description="Gate to gate per unit of quantity, to nine decimals.")
    footprint_status: FootprintStatus = Field(
        description="`final` when every hour and idle window of it is settled, `revised` when a fact came after that."
    )
    includes_open_hour: bool = Field(description="True: from the live picture, open hours included, not yet settled.")
    incomplete: bool | None = Field(
        description="True where missing data, facts that contradict each other or wrong facts of its materials touch the "
        "batch; null if nothing is known of it."
    )


class StatementLink(Answer):
    shipment: str = Field(examples=["S-7"])
    body_hash: str
    issued_at: Instant


class BatchDetail(Batch):
    live: dict[str, Any] | None = Field(description="The live picture while the batch runs.")
    statements: list[StatementLink]


class StepShare(Answer):
    step: str = Field(examples=["dyeing"])
    kg_co2e: DecimalText


class SourceShare(Answer):
    """All of one source in the batch: what was used, and what that emitted (null without a factor)."""

    source: str = Field(examples=["grid"])
    scope: int | None = Field(examples=[2])
    amount: DecimalText
    unit: str = Field(examples=["kWh"])
    kg_co2e: DecimalText | None
    factor: str = Field(examples=["cn.grid.2023.zhejiang"])


class ScopeShare(Answer):
    scope: int = Field(examples=[2])
    kg_co2e: DecimalText


class FactorUse(Answer):
    """The row of the factor library that a source was multiplied with, and why that one."""

    source: str = Field(examples=["grid"])
    factor: str = Field(examples=["cn.grid.2023.zhejiang"])
    version: int = Field(examples=[1])
    kg_co2e_per_unit: DecimalText
    unit: str = Field(examples=["kWh"])
    gases: str
    stage: str
    geography: str = Field(examples=["CN-ZJ"])
    data_year: int | None = Field(examples=[2023])
    document: str
    reason: str


class Remark(Answer):
    """What a reader of the figure must know."""

    code: str = Field(examples=["factor-missing"])
    place: str = Field(examples=["source gas"])
    message: str
    remedy: str


class ShipmentStatement(Answer):
    body_hash: str = Field(description="SHA-256 of the statement's exact bytes.")
    issued_at: Instant


class Shipment(Answer):
    """One batch of a shipment; a shipment of several batches has a row for each."""

    site: str = Field(examples=["dyehouse"])
    shipment: str = Field(examples=["S-7"])
    batch: str = Field(examples=["B-12"])
    at: Instant
    quantity: DecimalText | None
    customer: str | None
    status: Literal["issued", "pending"] = Field(description="`issued` when its statement exists.")
    statement: ShipmentStatement | None


class ShipmentLine(Shipment):
    source: str = Field(examples=["mes"])
    event_id: str
    body: dict[str, Any] | None = Field(description="The statement; its exact bytes are under `statements/{batch}`.")


class ShipmentDetail(Answer):
    site: str = Field(examples=["dyehouse"])
    shipment: str = Field(examples=["S-7"])
    status: Literal["issued", "pending"]
    page: str = Field(examples=["/shipments/S-7?site=dyehouse"])
    lines: list[ShipmentLine]


class Confirmation(Answer):
    """`stored`: new and committed; `known`: the same event had been stored before."""

    source: str = Field(examples=["mes"])
    event_id: str
    revision: int
    status: Literal["stored", "known"]


class Confirmations(Answer):
    site: str = Field(examples=["dyehouse"])
    confirmations: list[Confirmation]


class AlertInfo(Answer):
    site: str = Field(examples=["dyehouse"])
    id: str
    work_center: str = Field(examples=["line-2"])
    state: AlertState
    rate_kg_co2e_per_hour: DecimalText
    limit_kg_co2e_per_hour: DecimalText
    pending_at: Instant
    firing_at: Instant | None
    resolved_at: Instant | None


class IssueInfo(Answer):
    site: str = Field(examples=["dyehouse"])
    code: str = Field(examples=["job_end_without_start"])
    place: str = Field(examples=["event mes/17"])
    message: str
    remedy: str
    at: Instant
    first_seen_at: Instant
    last_seen_at: Instant
    seen: int
    open: bool


class IssueGroup(Answer):
    """Issues of one code, or of one code at one place, as one line for people; text is that of the latest."""

    site: str = Field(examples=["dyehouse"])
    code: str = Field(examples=["batch-incomplete"])
    issues: int = Field(examples=[14], description="How many issues the line stands for, by hour or event.")
    open_issues: int = Field(examples=[14])
    places: int = Field(examples=[9])
    newest_places: list[str] = Field(examples=[["B-12", "B-11"]], description="The latest few of its places.")
    of_batches: bool = Field(description="True where its places are batches.")
    message: str
    remedy: str
    first_at: Instant
    last_at: Instant


class QualityInfo(Answer):
    """How much of the present picture is measured, and everything that was refused or lost so far."""

    site: str = Field(examples=["dyehouse"])
    at: Instant | None
    quality: dict[str, float] = Field(examples=[{"measured": 0.98, "recovered": 0.02}])
    meters_total: int | None
    meters_missing: list[str]
    dead_letters: int = Field(description="Kept undecodable messages, of every site.")
    dead_letters_seen: int
    rejected_readings: int
    conflicting_readings: int
    gaps: int = Field(description="Reports of agents that had to drop data.")
    lost_readings: int


class Check(Answer):
    ok: bool
    detail: str = ""


class Readiness(Answer):
    ready: bool
    checks: dict[str, Check]


class Health(Answer):
    status: Literal["up"] = "up"
    version: str
