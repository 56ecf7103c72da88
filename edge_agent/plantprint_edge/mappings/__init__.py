"""Mappings of MQTT payloads as data: one YAML file per system beside this module, with public sources and examples.

Users add files of the same layout in a folder of their own (`mappings_dir` in agent.yaml).
"""

from collections.abc import Mapping as Dict
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib.resources import files
from pathlib import Path as File
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    ValidationError,
    model_validator,
)

from plantprint_edge.payloads.paths import Path, Template, parse_path, parse_template, topic_of
from plantprint_edge.payloads.times import check_format
from plantprint_edge.yamlfile import ConfigError, Document, parse_yaml, read_yaml


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {value!r}; put it in quotes")  # noqa: TRY004 - pydantic wants it so
    return value


def _parsed_path(value: Any) -> Path:
    return value if isinstance(value, Path) else parse_path(_text(value))


def _parsed_template(value: Any) -> Template:
    return value if isinstance(value, Template) else parse_template(_text(value))


def _fraction(value: Any) -> Fraction:
    try:
        fraction = Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"{value!r} is no number; write 0.1 or 1/60") from error
    if not 0 < abs(fraction) < 10**12:
        raise ValueError(f"{value!r} is no scale")
    return fraction


def _time_format(value: Any) -> str:
    return check_format(_text(value))


def _word(value: Any) -> str:
    """YAML reads on, off, true and numbers as such; a payload is compared by its text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


PathText = Annotated[Path, PlainValidator(_parsed_path), PlainSerializer(str)]
TemplateText = Annotated[Template, PlainValidator(_parsed_template), PlainSerializer(str)]
Scale = Annotated[Fraction, PlainValidator(_fraction), PlainSerializer(str)]
TimeFormat = Annotated[str, PlainValidator(_time_format)]
Word = Annotated[str, PlainValidator(_word)]
PayloadFormat = Literal["json", "text", "influx", "sparkplug"]
WHOLE = parse_path("")
NOBODY = parse_template("")
SPARKPLUG_NAMES = {"group", "message", "node", "device"}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TimeRule(_Model):
    """Where a value's time stands. `local`: a format without a zone, so the user must name one.

    `absent: arrival` lets a message without it count from when it came; otherwise it is refused.
    """

    path: PathText
    format: TimeFormat = "auto"
    local: bool = False
    absent: Literal["refuse", "arrival"] = "refuse"


class QualityRule(_Model):
    """A code that says how good a value is: what is not in `good` makes it missing; no code says nothing."""

    path: PathText
    good: tuple[Word, ...] = Field(min_length=1)


class ValueRule(_Model):
    """Values of a message. `each` chooses items (all of them where it fans out), the other paths count from the item.

    A value is a number, x `scale` and x the numbers at `times`, in `unit` or in the unit that stands at `unit_path`.
    Texts in `missing` mean no value, as null does.
    """

    each: PathText = WHOLE
    device: TemplateText | None = None
    name: TemplateText
    value: PathText = WHOLE
    unit: str = ""
    unit_path: PathText | None = None
    scale: Scale = Fraction(1)
    times: tuple[PathText, ...] = ()
    kind: Literal["counter", "gauge", ""] = ""
    time: TimeRule | None = None
    quality: QualityRule | None = None
    missing: tuple[Word, ...] = ()


class MessageRule(_Model):
    """One sort of message: its topic with named levels, its format, who speaks in it, and what it holds.

    `{base}` at the start of a topic is the mapping's base, which a user may replace. Sparkplug needs no values here.
    """

    topic: str
    format: PayloadFormat = "json"
    device: TemplateText = NOBODY
    time: TimeRule | None = None
    historical: bool = False
    values: tuple[ValueRule, ...] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        pattern = topic_of(self.topic, "base")
        if self.format == "sparkplug" and not {"group", "message", "node"} <= pattern.names <= SPARKPLUG_NAMES:
            raise ValueError(
                f"topic {self.topic!r}: Sparkplug has the levels {{group}}, {{message}}, {{node}}, {{device}}"
            )
        if bool(self.values) == (self.format == "sparkplug"):
            raise ValueError("values: needed for every format but sparkplug, which has none")
        for rule in self.values:
            known = pattern.names | rule.each.names | rule.value.names
            unknown = (rule.name.names | (rule.device or self.device).names) - known
            if unknown:
                raise ValueError(f"{min(unknown)!r} is no name of the topic {self.topic!r} or of a path")
        return self

    @property
    def device_by_topic(self) -> bool:
        """Whether the topic alone tells who speaks."""
        rules = [rule.device or self.device for rule in self.values]
        names = topic_of(self.topic, "base").names
        return all(not device.needs_message and device.names <= names for device in rules)

    @property
    def needs_zone(self) -> bool:
        return any(rule is not None and rule.local for rule in (self.time, *(value.time for value in self.values)))


class Example(_Model):
    """A message as the system sends it, and the readings that it becomes: `device name = value unit @ time`."""

    topic: str
    payload: str = ""
    payload_hex: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$")] = ""
    timezone: str | None = None
    gives: tuple[str, ...]

    @property
    def body(self) -> bytes:
        return bytes.fromhex(self.payload_hex) if self.payload_hex else self.payload.encode()


class Mapping(_Model):
    """How one system publishes. `base` is the usual start of its topics."""

    id: str
    title: str
    sources: tuple[str, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    base: str = ""
    messages: tuple[MessageRule, ...] = Field(min_length=1)
    examples: tuple[Example, ...] = ()

    @property
    def needs_zone(self) -> bool:
        return any(message.needs_zone for message in self.messages)

    def value_names(self) -> tuple[str, ...] | None:
        """All names that values can have, None when messages bring their own."""
        rules = [rule for message in self.messages for rule in message.values]
        if any(message.format == "sparkplug" for message in self.messages) or any(
            rule.name.names or rule.name.needs_message for rule in rules
        ):
            return None
        return tuple(dict.fromkeys(str(rule.name) for rule in rules))


@cache
def mapping_ids() -> tuple[str, ...]:
    """The ids of all shipped mappings, in alphabetical order."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def find_mapping(mapping_id: str) -> Mapping | None:
    """The shipped mapping of this id, or None."""
    if mapping_id not in mapping_ids():
        return None
    name = f"{mapping_id}.yaml"
    return Mapping.model_validate(parse_yaml((files(__name__) / name).read_text("utf-8"), name).data)


@dataclass(frozen=True, slots=True)
class Mappings:
    """The shipped mappings and a user's own, which come first where ids are equal."""

    own: Dict[str, Mapping]

    def find(self, mapping_id: str) -> Mapping | None:
        return self.own.get(mapping_id) or find_mapping(mapping_id)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted({*self.own, *mapping_ids()}))


SHIPPED = Mappings({})


def read_mappings(folder: File) -> Mappings:
    """The library with the files of `folder` added; raises `ConfigError` with every problem by file and line."""
    own: dict[str, Mapping] = {}
    problems: list[str] = []
    if not folder.is_dir():
        raise ConfigError([f"{folder}: is no folder; correct mappings_dir or remove it"])
    for path in sorted(folder.glob("*.yaml")):
        try:
            document = read_yaml(path)
            mapping = Mapping.model_validate(document.data)
        except ConfigError as error:
            problems += error.problems
        except ValidationError as error:
            problems += [_problem(document, details["loc"], details["msg"]) for details in error.errors()]
        else:
            if mapping.id != path.stem:
                at = document.place(("id",))
                problems.append(f"{at}: id: is {mapping.id!r}, not the name of its file; make them equal")
            own[mapping.id] = mapping
    if problems:
        raise ConfigError(problems)
    return Mappings(own)


def _problem(document: Document, location: tuple[str | int, ...], message: str) -> str:
    where = ".".join(str(part) for part in location) or "the file"
    return f"{document.place(location)}: {where}: {message.removeprefix('Value error, ')}"


def number_text(number: Decimal, factor: Fraction = Fraction(1)) -> str:
    """Number x factor as people read it; exact where decimal digits can say it, else with 15 of them."""
    value = Fraction(number) * factor
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    text = format(exact if rest == 1 else exact.quantize(Decimal("1e-15").scaleb(exact.adjusted())), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
