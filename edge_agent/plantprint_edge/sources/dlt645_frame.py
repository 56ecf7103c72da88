"""DL/T 645-2007 on the wire: frames, decimal digits, and what a refusal says. Only requests that read exist here.

    FE FE FE FE | 68 | address, 6 bytes, low byte first | 68 | control | length | data, each byte + 33H | sum | 16

All of it is pure: bytes in, frames and integers out.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

WAKE_UP = b"\xfe" * 4
START, END, OFFSET = 0x68, 0x16, 0x33
HEAD = 10
# The longest data field that the standard allows in a reply to a read.
DATA_MAX = 200
READ, READ_MORE, READ_ADDRESS = 0x11, 0x12, 0x13
REPLY, REFUSAL, MORE, FUNCTION = 0x80, 0x40, 0x20, 0x1F
# Every device on the line answers to this one; it is of use where only one is connected.
ANYONE = "AAAAAAAAAAAA"
ERRORS = (
    "other error", "no such data", "not authorised", "baud rate cannot be changed",
    "too many time zones", "too many day slots", "too many tariffs",
)  # fmt: skip


class DigitsError(ValueError):
    """Bytes that are no decimal digits, and do not say "missing" either."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: the address as printed on the meter (12 digits, the first on the left), and the data without offset."""

    address: str
    control: int
    data: bytes = b""

    @property
    def is_reply(self) -> bool:
        return bool(self.control & REPLY)

    @property
    def is_refusal(self) -> bool:
        return self.is_reply and bool(self.control & REFUSAL)

    @property
    def has_more(self) -> bool:
        """Whether the rest of the data must be asked for."""
        return bool(self.control & MORE)


def encode(frame: Frame) -> bytes:
    """The bytes of a frame, without wake-up."""
    body = bytes([
        START, *reversed(bytes.fromhex(frame.address)), START, frame.control, len(frame.data),
        *((byte + OFFSET) % 256 for byte in frame.data),
    ])  # fmt: skip
    return body + bytes([sum(body) % 256, END])


def identifier(di: int) -> bytes:
    """A data identifier in the order of the wire, low byte first."""
    return di.to_bytes(4, "little")


@dataclass(slots=True)
class Deframer:
    """Finds frames in a stream of bytes; what is none is skipped. It never holds more than one frame."""

    _held: bytearray = field(default_factory=bytearray)

    def feed(self, received: bytes) -> list[Frame]:
        """The frames that are complete with these bytes."""
        self._held += received
        return list(self._take())

    def _take(self) -> Iterator[Frame]:
        held = self._held
        at = held.find(START)
        while at >= 0:
            size = _size(held, at)
            if size is None:
                at = held.find(START, at + 1)
            elif at + size > len(held):
                break
            elif (frame := _decode(held[at : at + size])) is None:
                at = held.find(START, at + 1)
            else:
                yield frame
                at = held.find(START, at + size)
        del held[: at if at >= 0 else len(held)]


def _size(held: bytearray, at: int) -> int | None:
    """How many bytes a frame that begins here has, at least; None when none can begin here."""
    if at + HEAD > len(held):
        return HEAD + 2
    if held[at + 7] != START or held[at + 9] > DATA_MAX:
        return None
    return HEAD + int(held[at + 9]) + 2


def _decode(raw: bytearray) -> Frame | None:
    if raw[-1] != END or raw[-2] != sum(raw[:-2]) % 256:
        return None
    return Frame(raw[6:0:-1].hex().upper(), raw[8], bytes((byte - OFFSET) % 256 for byte in raw[HEAD:-2]))


def number(data: bytes, *, signed: bool) -> int | None:
    """The decimal digits in `data`, low byte first, as an integer; None where all ones say "missing".

    `signed`: the highest bit is 1 for less than zero. Raises `DigitsError`.
    """
    if not data or data == b"\xff" * len(data):
        return None
    negative = signed and data[-1] >= 0x80
    digits = (data[:-1] + bytes([data[-1] & 0x7F if signed else data[-1]]))[::-1].hex()
    if not digits.isdecimal():
        raise DigitsError(f"{data[::-1].hex().upper()} is no decimal number")
    return -int(digits) if negative else int(digits)


def refusal(data: bytes) -> str:
    """What the error byte of a refusal says."""
    bits = data[0] if data else 0
    said = [text for i, text in enumerate(ERRORS) if bits >> i & 1]
    return " and ".join(said) or f"error {bits:02X}H"
