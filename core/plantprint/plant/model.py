"""What `plant.yaml` may say: one frozen pydantic model per noun; meaning across nouns is checked in `check`."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
ChannelRef = Annotated[str, StringConstraints(pattern=r"^[^/\s]+/[^\s]+$")]
Expression = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.\-+ ]+$")]

RESERVED_NODES = ("export", "unmetered", "losses")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Text(_Model):
    """A name in the languages of the pages."""

    en: str
    zh: str = ""


class Site(_Model):
    id: Id
    name: Text
    timezone: str = "UTC"
    geography: str = "GLO"


class Budget(_Model):
    """A carbon budget of a line: an hour's allowance, how long it must be exceeded, and when it counts as met again."""

    kg_co2e_per_hour: Decimal = Field(gt=0)
    pending_s: int = Field(default=30, ge=0)
    clear_ratio: Decimal = Field(default=Decimal("0.9"), gt=0, le=1)


class Step(_Model):
    """A process step (ISA-95 process segment) and how concurrent jobs share a work unit in it."""

    id: Id
    name: Text
    rule: Literal["weight", "equal", "exclusive"] = "weight"


class WorkUnit(_Model):
    """Equipment where flows end; `step` is what it is there for, used when no job says otherwise."""

    id: Id
    name: Text
    step: Id | None = None


class WorkCenter(_Model):
    """A line (ISA-95 work center) with its work units."""

    id: Id
    name: Text
    area: str = ""
    budget: Budget | None = None
    work_units: tuple[WorkUnit, ...] = Field(min_length=1)


class Source(_Model):
    """Where an amount enters the boundary; `factor` names a row of the factor library, per `unit`."""

    id: Id
    name: Text
    unit: str
    kind: Literal["grid", "on_site", "fuel", "purchased", "direct"]
    factor: str
    scope: Literal[1, 2, 3]


class Binding(_Model):
    """Which channel feeds a meter from when to when; `ratio` is the CT x PT that the device does not apply."""

    channel: ChannelRef
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    ratio: Decimal = Field(default=Decimal(1), gt=0)


class Meter(_Model):
    """A metering point; its amounts are in `unit`, whatever its channel counts in.

    `max_gap_s`: a longer pause between readings makes a counter's amount `recovered` and a gauge's middle missing.
    `wrap`: the register's modulus in the meter's unit. `rated_per_hour`: more than 1.2 times this is not believed.
    """

    id: Id
    name: Text
    unit: str
    bindings: tuple[Binding, ...] = Field(min_length=1)
    max_gap_s: int = Field(default=300, gt=0)
    wrap: Decimal | None = Field(default=None, gt=0)
    rated_per_hour: Decimal | None = Field(default=None, gt=0)


class Pool(_Model):
    """A shared header with one output unit. `mix_window` auto: an hour if it converts or has a rest, else a bucket."""

    id: Id
    name: Text
    unit: str
    kind: Literal["conserving", "converting"] = "conserving"
    mix_window: Literal["auto", "bucket", "hour"] = "auto"


class Flow(_Model):
    """An edge: source → pool, pool → pool, pool or source → work unit, or pool → export | unmetered | losses.

    `amount` is a sum of meters (`m1 + m2 - m3`, in the giver's output unit) or `rest`: what the giver has left, divided
    by `weight` when several flows take the rest.
    """

    giver: Id = Field(alias="from")
    taker: Id = Field(alias="to")
    amount: Expression
    weight: int = Field(default=1, gt=0)

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Plant(_Model):
    """One site's model; `bucket_s` divides an hour and is the step in which flows are known."""

    plantprint: Literal[1]
    site: Site
    bucket_s: int = Field(default=60, gt=0, le=3600)
    settle_after_s: int = Field(default=900, ge=0)
    effective_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    work_centers: tuple[WorkCenter, ...] = Field(min_length=1)
    sources: tuple[Source, ...] = Field(min_length=1)
    meters: tuple[Meter, ...] = Field(min_length=1)
    pools: tuple[Pool, ...] = ()
    flows: tuple[Flow, ...] = Field(min_length=1)
