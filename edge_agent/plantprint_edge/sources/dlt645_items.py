"""What a DL/T 645-2007 meter can be asked for: data identifiers with their format, unit and kind, from a data file."""

from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from plantprint_edge.yamlfile import parse_yaml

DataId = Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{8}$")]


def _whole_bytes(text: str) -> str:
    if text.count("X") % 2:
        raise ValueError(f"{text} has an odd number of digits; two digits are a byte on the wire")
    return text


# Digits and decimal point on the wire, such as XXXXXX.XX.
Format = Annotated[str, StringConstraints(pattern=r"^X{1,10}(\.X{1,8})?$"), AfterValidator(_whole_bytes)]


class Item(BaseModel):
    """One quantity: value = digits x `scale` in `unit`; `signed` numbers have their sign in the highest bit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    di: DataId
    format: Format
    signed: bool = False
    unit: str
    scale: int = Field(default=1, ge=1)
    kind: Literal["counter", "gauge"]

    @property
    def number(self) -> int:
        """The data identifier as a number."""
        return int(self.di, 16)

    @property
    def digits(self) -> int:
        return self.format.count("X")

    @property
    def size(self) -> int:
        """Bytes of the value on the wire."""
        return self.digits // 2

    @property
    def wire_decimals(self) -> int:
        return len(self.format.partition(".")[2])

    @property
    def decimals(self) -> int:
        """Decimals worth keeping in `unit`."""
        return max(0, self.wire_decimals - len(str(self.scale)) + 1)

    @property
    def modulus(self) -> Decimal:
        """Where a counter ends, in `unit`: a sign takes the highest bit of the highest digit."""
        highest = 8 if self.signed else 10
        return Decimal(highest * self.scale).scaleb(self.digits - self.wire_decimals - 1)


class Items(BaseModel):
    """The whole file: `items` by name, and in `blocks` the DI1 of the first value of each block."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[str, ...] = Field(min_length=1)
    notes: tuple[str, ...]
    blocks: dict[DataId, int]
    items: dict[str, Item]

    def block_of(self, item: Item) -> tuple[int, int] | None:
        """The block that holds `item`, and its position there; None where there is none."""
        block = item.number | 0xFF00
        first = self.blocks.get(f"{block:08X}")
        if first is None:
            return None
        position = (item.number >> 8 & 0xFF) - first
        return (block, position) if position >= 0 else None


@cache
def known_items() -> Items:
    """What ships."""
    name = "dlt645_items.yaml"
    return Items.model_validate(parse_yaml((files(__package__) / name).read_text("utf-8"), name).data)
