"""The document of facts: what every key of FACTS.json may hold, its JSON Schema, each mistake with its place and remedy."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from plantprint.factors import Factor
from plantprint.facts import PERIOD_S_MAX, EventKind
from plantprint.plant.load import model_issues
from plantprint.plant.model import ChannelRef, Id, Plant
from plantprint.times import format_instant, hour_floor, parse_instant, to_ms

_SEE_SCHEMA = "docs/neutral.md and `plantprint account --schema` say what is expected"
Quality = Literal["measured", "recovered", "estimated", "missing"]


class FactsError(ValueError):
    """The document does not say what it should; the message names each place in it and what to do."""


def _instant(given: object) -> object:
    return parse_instant(given) if isinstance(given, str) else _refused(given, "a time is text")


def _number(given: object) -> object:
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return (
        given
        if isinstance(given, str)
        else _refused(given, 'write it as text, such as "12.5", so that no digit is lost')
    )


def _refused(given: object, why: str) -> object:
    raise ValueError(f"{given!r}: {why}")


Instant = Annotated[
    int,
    BeforeValidator(_instant),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with an offset"}),
]
"""Read as milliseconds since 1970."""
DecimalText = Annotated[
    str,
    BeforeValidator(_number),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}, {"type": "integer"}]}),
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Fact(_Model):
    known_at: Instant | None = Field(default=None, description="since when the fact is known; absent: it always was")


def _with_bindings(given: object) -> object:
    """A meter whose amounts are given needs no channel."""
    if not isinstance(given, Mapping) or not isinstance(given.get("meters"), list):
        return given
    meters = [
        {"bindings": [{"channel": f"facts/{meter['id']}"}], **meter}
        if isinstance(meter, Mapping) and isinstance(meter.get("id"), str)
        else meter
        for meter in given["meters"]
    ]
    return {**given, "meters": meters}


class StatedPlant(_Fact):
    """A plant model (`plant.yaml` as JSON) that holds from a full hour on; the first one holds from the beginning."""

    model: Annotated[Plant, BeforeValidator(_with_bindings)]
    effective_at: Instant | None = None

    @model_validator(mode="after")
    def _at_an_hour(self) -> "StatedPlant":
        if self.effective_at is not None and self.effective_at != hour_floor(self.effective_at):
            raise ValueError(
                f"a plant takes effect at a full hour (UTC), not at {format_instant(self.effective_at)}; write "
                f"{format_instant(hour_floor(self.effective_at))}; valid_from of a binding may lie inside an hour"
            )
        return self

    @property
    def effective_ms(self) -> int:
        declared = self.model.effective_at
        known = to_ms(declared) if self.effective_at is None and declared is not None else self.effective_at
        return -(2**62) if known is None else known


class StatedChannel(_Model):
    """A stream of readings: values are text with at most so many decimals, `period_s` is that of amounts."""

    channel: ChannelRef
    unit: str
    decimals: int = Field(ge=0, le=12)
    kind: Literal["counter", "gauge", "amount"]
    period_s: int = Field(default=0, ge=0, json_schema_extra={"maximum": PERIOD_S_MAX})

    @model_validator(mode="after")
    def _amounts_have_a_period(self) -> "StatedChannel":
        if self.period_s > PERIOD_S_MAX:
            raise ValueError(
                f"period_s {self.period_s} is longer than a week ({PERIOD_S_MAX} s); give longer spans under `amounts`, "
                "or as activity events"
            )
        if self.kind == "amount" and not self.period_s:
            raise ValueError("a channel of amounts needs period_s; amounts of unlike periods are given under `amounts`")
        return self


class StatedReadings(_Fact):
    """Readings of a channel, as rows of [time, value]."""

    channel: ChannelRef
    rows: tuple[tuple[Instant, DecimalText], ...]
    quality: Quality = "measured"
    revision: int = Field(default=0, ge=0)


class StatedAmounts(_Fact):
    """What a meter counted in spans of time, as rows of [start, end, amount], spread evenly; `unit` is the meter's."""

    meter: Id
    rows: tuple[tuple[Instant, Instant, DecimalText], ...]
    unit: str | None = None
    quality: Quality = "measured"
    revision: int = Field(default=0, ge=0)


class StatedJob(_Fact):
    """A job from start to end, both known at once; events say it piece by piece. Without an end it still runs."""

    job: str = Field(min_length=1)
    batch: str = Field(min_length=1)
    work_unit: str
    step: str | None = None
    weight: DecimalText | None = None
    start: Instant
    end: Instant | None = None


class StatedState(_Fact):
    """A work unit's state from an instant on, until another is given."""

    work_unit: str
    state: str
    at: Instant


class StatedEvent(_Fact):
    """A production event; identity is (source, event_id), the highest revision counts. Without an id its contents are it."""

    kind: EventKind
    at: Instant
    source: str = Field(default="facts", min_length=1)
    event_id: str | None = Field(default=None, min_length=1)
    revision: int = Field(default=0, ge=0)
    body: dict[str, str | int | float | None]


class StatedSeries(_Model):
    """Hourly factors per kWh as rows of [hour, direct kg, life cycle kg]; a source names the series as its factor.

    `purpose` says which of the two is used where nobody asks: inventory the direct, footprint the life cycle. A row may hold
    one value, which then serves that purpose only. A source with an `hourly` file takes the series of the file's name.
    """

    factor_id: str = Field(min_length=1)
    source: str = Field(min_length=1, description="by whose word")
    geography: str = "GLO"
    purpose: Literal["footprint", "inventory"] = "inventory"
    known_at: Instant | None = None
    rows: tuple[tuple[Instant, DecimalText] | tuple[Instant, DecimalText, DecimalText], ...] = Field(min_length=1)


StatedFactor = Annotated[
    dict[str, str | int | float | None],
    WithJsonSchema(
        {
            "type": "object",
            "description": "a factor of the site by its columns, docs/factors.md; those not given stay empty",
            "properties": {name: {"type": ["string", "number", "null"]} for name in Factor.__dataclass_fields__},
            "required": ["factor_id", "value", "unit", "source"],
            "additionalProperties": False,
        }
    ),
]


class Facts(_Model):
    """The whole document."""

    plantprint_facts: Literal[1]
    plants: tuple[StatedPlant, ...] = Field(min_length=1)
    channels: tuple[StatedChannel, ...] = ()
    readings: tuple[StatedReadings, ...] = ()
    amounts: tuple[StatedAmounts, ...] = ()
    jobs: tuple[StatedJob, ...] = ()
    states: tuple[StatedState, ...] = ()
    events: tuple[StatedEvent, ...] = ()
    factors: tuple[StatedFactor, ...] = ()
    factor_series: tuple[StatedSeries, ...] = ()
    until: Instant = Field(description="the site's now: what lies after it is not missing")


def parse_facts(document: str | bytes) -> Facts:
    """Raises `FactsError` with the place of every mistake."""
    try:
        return Facts.model_validate_json(document)
    except ValidationError as error:
        found = model_issues(error, _keys(), _SEE_SCHEMA)
        raise FactsError(
            "\n".join(f"{one.path or 'document'}: {one.message}; {one.remedy}" for one in found)
        ) from error


def facts_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the document, for editors and generators."""
    schema = Facts.model_json_schema(by_alias=True)
    schema["$defs"]["Meter"]["required"].remove("bindings")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "plantprint facts"}


@cache
def _keys() -> tuple[str, ...]:
    """Every key that the document may have somewhere, to guess what a misspelt one was to be."""
    schema = facts_json_schema()
    return tuple(key for model in (schema, *schema["$defs"].values()) for key in model.get("properties", ()))
