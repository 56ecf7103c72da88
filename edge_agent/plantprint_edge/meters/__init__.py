"""The library of device types: one YAML file per model beside this module, with the public sources of its numbers."""

from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from plantprint_edge.decode import TYPE_PATTERN, WordOrder
from plantprint_edge.yamlfile import parse_yaml

RegisterType = Annotated[str, Field(pattern=TYPE_PATTERN)]
Address = Annotated[int, Field(ge=0, le=65_535)]
Decimals = Annotated[int, Field(ge=0, le=12)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DevicePoint(_Model):
    """One quantity of a device: zero-based wire address, value = raw x `scale` in `unit`, `decimals` worth keeping."""

    addr: Address
    type: RegisterType
    scale: Decimal = Field(default=Decimal(1), gt=0)
    unit: str
    kind: Literal["counter", "gauge"]
    decimals: Decimals


class Device(_Model):
    """A device type. `read_max` and `gap_max` are registers: per request, and unused ones that may be read along.

    `forbidden` ranges (both ends included) are never read; `sentinels` are raw hex values per type that mean missing.
    """

    id: str
    maker: str
    model: str
    sources: tuple[str, ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    fc: Literal[3, 4]
    word_order: WordOrder
    read_max: int = Field(default=120, ge=4, le=125)
    gap_max: int = Field(default=0, ge=0, le=125)
    forbidden: tuple[tuple[Address, Address], ...] = ()
    sentinels: dict[RegisterType, tuple[str, ...]] = {}
    points: dict[str, DevicePoint]


@cache
def device_ids() -> tuple[str, ...]:
    """The ids of all shipped device types, in alphabetical order."""
    names = (entry.name for entry in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


@cache
def find_device(device_id: str) -> Device | None:
    """The device type of this id, or None when the library does not know it."""
    if device_id not in device_ids():
        return None
    name = f"{device_id}.yaml"
    return Device.model_validate(parse_yaml((files(__name__) / name).read_text("utf-8"), name).data)
