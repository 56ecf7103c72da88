"""Modbus devices in `agent.yaml`."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, PrivateAttr, StringConstraints, ValidationInfo, model_validator

from plantprint_edge.config.base import ChannelName, Model
from plantprint_edge.config.polled import PolledSource
from plantprint_edge.decode import WordOrder
from plantprint_edge.meters import SHIPPED, Address, Decimals, Hex, Library, Parity, Ratio, RegisterType, Scale


class ModbusPoint(Model):
    """A channel read from registers: `point` names one of the device type, or `addr`, `type` and the rest stand here.

    What is written here wins over the library. A `unit` other than the library's is converted exactly.
    """

    name: ChannelName
    point: str | None = None
    addr: Address | None = None
    type: RegisterType | None = None
    scale: Scale | None = None
    kind: Literal["counter", "gauge"] | None = None
    unit: str | None = None
    decimals: Decimals | None = None
    fc: Literal[3, 4] | None = None
    word_order: WordOrder | None = None
    times: tuple[Ratio, ...] | None = None
    sentinels: tuple[Hex, ...] | None = None


class ModbusSource(PolledSource):
    """A Modbus device.

    CT and PT ratios that the device holds are read at the start and every `ratio_every_s`; one given in `ratios` is not
    read, 1 switches it off. A request asks for `read_max` registers at most, and reads over `gap_max` unused ones.
    """

    unit_id: int = Field(default=1, ge=1, le=247)
    device: str | None = None
    ratios: dict[str, Annotated[Decimal, Field(gt=0)]] = Field(default={})
    ratio_every_s: float = Field(default=300, gt=0)
    read_max: int | None = Field(default=None, ge=4, le=125)
    gap_max: int | None = Field(default=None, ge=0, le=125)
    points: tuple[ModbusPoint, ...] = Field(min_length=1)
    _library: Library = PrivateAttr(default=SHIPPED)

    @model_validator(mode="after")
    def _remember_library(self, info: ValidationInfo) -> Self:
        self._library = (info.context or {}).get("library", SHIPPED)
        return self

    @property
    def library(self) -> Library:
        """The device types that `device` may name."""
        return self._library


class ModbusTcpSource(ModbusSource):
    """A device on the network. `framing: rtu` is for serial converters that pass RTU frames through ("RTU over TCP").

    Devices with the same host and port behind such a converter share one connection and take turns, always. With
    `share_connection` they do so with Modbus TCP framing as well, for gateways that accept few connections.
    """

    source: Literal["modbus"]
    unit_id: int = Field(default=1, ge=0, le=255)
    host: str
    port: int = Field(default=502, ge=1, le=65_535)
    framing: Literal["tcp", "rtu"] = "tcp"
    share_connection: bool = False

    @model_validator(mode="after")
    def _unit_of_the_line(self) -> Self:
        if self.framing == "rtu" and not 1 <= self.unit_id <= 247:
            raise ValueError("unit_id is 1 to 247 on a serial line; 0 and 255 are for devices that speak Modbus TCP")
        return self


class ModbusSerialSource(ModbusSource):
    """A device on a serial line (RS485); all on one `serial_port` take turns. What is not given is the device type's
    usual setting, else 9600 baud, no parity, 1 stop bit.
    """

    source: Literal["modbus_serial"]
    serial_port: Annotated[str, StringConstraints(pattern=r"^/\S+$")]
    baud: int | None = Field(default=None, ge=300, le=4_000_000)
    parity: Parity | None = None
    stop: Literal[1, 2] | None = None
