"""The library of device types: one YAML file per model beside this module, with the public sources of its numbers.

Users add files of the same layout in a folder of their own (`meters_dir` in agent.yaml).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from plantprint_edge.decode import TYPE_PATTERN, WordOrder, register_count
from plantprint_edge.yamlfile import ConfigError, Document, parse_yaml, read_yaml

RegisterType = Annotated[str, Field(pattern=TYPE_PATTERN)]
Address = Annotated[int, Field(ge=0, le=65_535)]
Decimals = Annotated[int, Field(ge=0, le=12)]
# A number, or `sf@N`: 10 to the power of the signed register N, counted like the points' addresses.
Scale = Annotated[Decimal, Field(gt=0)] | Annotated[str, StringConstraints(pattern=r"^sf@\d{1,5}$")]
# `ct@142`: the ratio called ct stands in register 142 of the device and multiplies the value.
Ratio = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*@\d{1,5}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^[0-9A-Fa-f]{1,16}$")]
Parity = Literal["N", "E", "O"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DevicePoint(_Model):
    """One quantity of a device: zero-based wire address, value = raw x `scale` in `unit`, `decimals` worth keeping.

    `times` are ratios held in the device that multiply it; `sentinels` mean missing besides those of the device.
    """

    addr: Address
    type: RegisterType
    scale: Scale = Decimal(1)
    unit: str
    kind: Literal["counter", "gauge"]
    decimals: Decimals
    times: tuple[Ratio, ...] = ()
    sentinels: tuple[Hex, ...] = ()

    @property
    def modulus(self) -> Decimal | None:
        """Where an integer counter must wrap at the latest, in `unit` (raw where the scale is in a register).

        None for floats, which lose steps instead.
        """
        bits = 16 * register_count(self.type)
        scale = self.scale if isinstance(self.scale, Decimal) else Decimal(1)
        match self.type[0]:
            case "u":
                return Decimal(2**bits) * scale
            case "i":
                return Decimal(2 ** (bits - 1)) * scale
            case "b":
                digits, _, decimals = self.type.removeprefix("bcd").partition(".")
                return Decimal(10) ** (int(digits) - int(decimals or 0)) * scale
            case _:
                return None


class Serial(_Model):
    """Usual factory settings of the serial port; where several parities are seen, the likeliest comes first."""

    baud: int = Field(gt=0)
    parity: tuple[Parity, ...] = Field(min_length=1)
    stop: Literal[1, 2]


class Identity(_Model):
    """Registers by which the device tells its maker."""

    addr: Address
    words: tuple[Address, ...] = Field(min_length=1)


class CounterFacts(_Model):
    """What is known of the energy or volume counter; `wrap` is null where no source states it."""

    storage: str
    wrap: str | None = None
    user_reset: str = "unknown"


class Device(_Model):
    """A device type. `read_max` and `gap_max` are registers: per request, and unused ones that may be read along.

    `forbidden` ranges (both ends included) are never read; `sentinels` are raw hex values per type that mean missing.
    With `sunspec` (model numbers) the device is found by the chain of SunSpec models, and addresses count from the
    register that holds the model's number. `pause_ms` is the rest a device needs between two requests.
    """

    id: str
    maker: str
    model: str
    kind: Literal["meter", "pv_inverter", "grid_meter", "gas", "flow"] = "meter"
    sources: tuple[str, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    transport: tuple[Literal["tcp", "rtu", "rtu_over_tcp"], ...] = ("tcp", "rtu")
    serial: Serial | None = None
    fc: Literal[3, 4]
    word_order: WordOrder
    read_max: int = Field(default=120, ge=4, le=125)
    gap_max: int = Field(default=0, ge=0, le=125)
    pause_ms: int = Field(default=0, ge=0, le=10_000)
    forbidden: tuple[tuple[Address, Address], ...] = ()
    sunspec: tuple[int, ...] = ()
    identify: Identity | None = None
    sentinels: dict[RegisterType, tuple[Hex, ...]] = {}
    counter: CounterFacts | None = None
    points: dict[str, DevicePoint] = Field(min_length=1)

    @model_validator(mode="after")
    def _ratios_have_one_place(self) -> Self:
        places: dict[str, str] = {}
        for name, point in self.points.items():
            for ratio in point.times:
                if places.setdefault(ratio.partition("@")[0], ratio) != ratio:
                    raise ValueError(f"points.{name}: {ratio} stands elsewhere too; a ratio has one register")
        return self


@cache
def device_ids() -> tuple[str, ...]:
    """The ids of all shipped device types, in alphabetical order."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def find_device(device_id: str) -> Device | None:
    """The shipped device type of this id, or None when the library does not know it."""
    if device_id not in device_ids():
        return None
    name = f"{device_id}.yaml"
    return Device.model_validate(parse_yaml((files(__name__) / name).read_text("utf-8"), name).data)


@dataclass(frozen=True, slots=True)
class Library:
    """The shipped device types and a user's own, which come first where ids are equal."""

    own: Mapping[str, Device]

    def find(self, device_id: str) -> Device | None:
        return self.own.get(device_id) or find_device(device_id)

    def ids(self) -> tuple[str, ...]:
        return tuple(sorted({*self.own, *device_ids()}))


SHIPPED = Library({})


def read_library(folder: Path) -> Library:
    """The library with the files of `folder` added; raises `ConfigError` with every problem by file and line."""
    own: dict[str, Device] = {}
    problems: list[str] = []
    if not folder.is_dir():
        raise ConfigError([f"{folder}: is no folder; correct meters_dir or remove it"])
    for path in sorted(folder.glob("*.yaml")):
        try:
            document = read_yaml(path)
            device = Device.model_validate(document.data)
        except ConfigError as error:
            problems += error.problems
        except ValidationError as error:
            problems += [_problem(document, details["loc"], details["msg"]) for details in error.errors()]
        else:
            if device.id != path.stem:
                problems.append(
                    f"{document.place(('id',))}: id: is {device.id!r}, not the name of its file; make them equal"
                )
            own[device.id] = device
    if problems:
        raise ConfigError(problems)
    return Library(own)


def _problem(document: Document, location: tuple[str | int, ...], message: str) -> str:
    where = ".".join(str(part) for part in location) or "the file"
    return f"{document.place(location)}: {where}: {message.removeprefix('Value error, ')}"
