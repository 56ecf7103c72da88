"""DL/T 645-2007 meters in `agent.yaml`."""

from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from plantprint.quantities import UnitError, conversion
from plantprint_edge.config.base import ChannelName, Model
from plantprint_edge.config.polled import PolledSource
from plantprint_edge.meters import Decimals, Parity
from plantprint_edge.sources.dlt645_items import DataId, Format, Item, known_items

EVERYONE = "9" * 12


def _is_text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError('write it in quotes, such as "000012345678": YAML takes digits for a number')  # noqa: TRY004 - pydantic's
    return value


def _full_address(address: str) -> str:
    if address == EVERYONE:
        raise ValueError("is the address of all meters, and none answers to it; write the one printed on the meter")
    return address.zfill(12)


MeterAddress = Annotated[
    str,
    BeforeValidator(_is_text),
    StringConstraints(pattern=r"^[0-9]{1,12}$"),
    AfterValidator(_full_address),
]


class Dlt645Point(Model):
    """A channel of a meter: `point` names an item that ships, or `di`, `format` and the rest stand here.

    What is written here wins. A `unit` other than the item's is converted exactly.
    """

    name: ChannelName
    point: str | None = None
    di: Annotated[DataId, BeforeValidator(_is_text)] | None = None
    format: Format | None = None
    signed: bool | None = None
    kind: Literal["counter", "gauge"] | None = None
    unit: str | None = None
    decimals: Decimals | None = None

    @model_validator(mode="after")
    def _says_enough(self) -> Self:
        try:
            conversion(self.item.unit, self.channel_unit)
        except UnitError as error:
            raise ValueError(f"the meter counts in {self.item.unit}; {error}") from error
        return self

    @property
    def item(self) -> Item:
        """What is asked for, as the meter has it; raises `ValueError` where neither place says enough."""
        known = known_items().items
        if self.point is not None and self.point not in known:
            raise ValueError(f"point {self.point!r} is not known; there are {', '.join(known)}")
        said = self.model_dump(include={"di", "format", "signed", "kind"}, exclude_none=True)
        if self.point is not None:
            return Item.model_validate({**known[self.point].model_dump(), **said})
        if absent := {"di", "format", "kind", "unit"} - self.model_dump(exclude_none=True).keys():
            raise ValueError(f"{', '.join(sorted(absent))} not given; write it here or name a `point`")
        return Item.model_validate({**said, "unit": self.unit})

    @property
    def is_as_shipped(self) -> bool:
        """Whether identifier and format are the ones of a known item."""
        return self.point is not None and self.di is None and self.format is None

    @property
    def channel_unit(self) -> str:
        return self.unit or self.item.unit

    @property
    def channel_decimals(self) -> int:
        return self.item.decimals if self.decimals is None else self.decimals

    @property
    def factor(self) -> Fraction:
        """What one unit of the digits on the wire is worth in 10^-decimals of the channel's unit."""
        item = self.item
        worth = Fraction(item.scale, 10**item.wire_decimals) * conversion(item.unit, self.channel_unit)
        return worth * Fraction(10) ** self.channel_decimals


class Dlt645Source(PolledSource):
    """A DL/T 645-2007 meter. `address` is the number printed on it, up to 12 digits, in quotes.

    With `blocks` several values of one kind are read with one request where the meter can do that.
    """

    address: MeterAddress
    interval_s: float = Field(default=10, ge=0.05)
    timeout_s: float = Field(default=2, gt=0)
    blocks: bool = True
    points: tuple[Dlt645Point, ...] = Field(min_length=1)


class Dlt645TcpSource(Dlt645Source):
    """A meter behind a serial server on the network; those with the same host and port take turns."""

    source: Literal["dlt645"]
    host: str
    port: int = Field(ge=1, le=65_535)


class Dlt645SerialSource(Dlt645Source):
    """A meter on a serial line (RS485); all on one `serial_port` take turns."""

    source: Literal["dlt645_serial"]
    serial_port: Annotated[str, StringConstraints(pattern=r"^/\S+$")]
    baud: int = Field(default=2400, ge=300, le=4_000_000)
    parity: Parity = "E"
    stop: Literal[1, 2] = 1
