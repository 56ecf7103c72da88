"""What devices send over MQTT, decoded: bytes in, values with identity, name, time and unit out; pure and bounded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction


class PayloadError(ValueError):
    """A message that does not hold what its mapping promises."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value of a message. `number` x `factor` is in `unit` ("" where nobody says); None is missing, `why` says so.

    `t_ms` None: the message has no time of its own. `historical`: sent late, from a device's store.
    """

    device: str
    name: str
    number: Decimal | None
    unit: str = ""
    t_ms: int | None = None
    factor: Fraction = Fraction(1)
    why: str = ""
    historical: bool = False


@dataclass(slots=True)
class Decoded:
    """What a message became. `ignored` are (device, what, why); `dead` are devices of which it says that they are gone.

    `undeclared` are devices that spoke and whose values nobody asked for.
    """

    found: list[Found] = field(default_factory=list)
    ignored: list[tuple[str, str, str]] = field(default_factory=list)
    dead: Sequence[str] = ()
    undeclared: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one message."""

    bytes_max: int = 65_536
    depth_max: int = 32
    values_max: int = 2000

    def check_size(self, payload: bytes) -> None:
        """Raises `PayloadError` on too many bytes."""
        if len(payload) > self.bytes_max:
            raise PayloadError(f"{len(payload)} bytes exceed payload_bytes_max {self.bytes_max}")

    def check_room(self, decoded: Decoded) -> None:
        """Raises `PayloadError` when a message holds more values than are taken from one."""
        if len(decoded.found) + len(decoded.ignored) >= self.values_max:
            raise PayloadError(f"more than {self.values_max} values in one message (values_max)")


NO_LIMITS_GIVEN = Limits()
