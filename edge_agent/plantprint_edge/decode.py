"""Registers → integers at a channel's decimals: word order, types, sentinels, exact scaling; and which blocks to read.

All of it is pure: words in, integers out. What a device marks as missing is no value, never zero.
"""

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Literal

from plantprint.quantities import INT64_MAX, round_half_even

WordOrder = Literal["big", "little"]
TYPE_PATTERN = r"^([uif]64|[uif]32|[ui]16|bcd(4|8|12|16)(\.\d)?)$"
ONE = Fraction(1)
# SunSpec allows powers of ten from -10 to 10; its "not implemented" (8000) is far outside.
SCALE_MAX = 10
# Raw bits of a register type, and the number that they are.
_FLOATS = {"f32": (struct.Struct(">I"), struct.Struct(">f")), "f64": (struct.Struct(">Q"), struct.Struct(">d"))}
_BCD = re.compile(r"^bcd(\d+)(?:\.(\d))?$")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a device: where it stands, how it is read, and how it becomes the integer of channel `index`.

    `addr` is the zero-based wire address, `factor` what one raw unit is worth in 10^-decimals of the channel's unit.
    `scale_addr` holds a power of ten (16 bit, signed) that multiplies it and is read in the same request; `times` are
    the names of ratios that multiply it too.
    """

    index: int
    fc: Literal[3, 4]
    addr: int
    type: str
    word_order: WordOrder
    factor: Fraction
    sentinels: frozenset[int] = frozenset()
    scale_addr: int | None = None
    times: tuple[str, ...] = ()
    # Worked out once, for a point is decoded every second: `factor` as integers, and how raw bits are put together.
    worth: tuple[int, int] = field(init=False, compare=False, repr=False)
    order: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        places = range(self.width)
        object.__setattr__(self, "worth", self.factor.as_integer_ratio())
        object.__setattr__(self, "order", tuple(places if self.word_order == "big" else reversed(places)))

    @property
    def width(self) -> int:
        return register_count(self.type)

    @property
    def start(self) -> int:
        """The first register that a request for this value must hold."""
        return self.addr if self.scale_addr is None else min(self.addr, self.scale_addr)

    @property
    def end(self) -> int:
        """One past the last register that a request for this value must hold."""
        end = self.addr + self.width
        return end if self.scale_addr is None else max(end, self.scale_addr + 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Registers that are read with one request, and the points inside."""

    fc: Literal[3, 4]
    addr: int
    count: int
    points: tuple[Point, ...]
    indexes: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "indexes", tuple(point.index for point in self.points))


@cache
def register_count(register_type: str) -> int:
    """How many 16-bit registers a value of this type takes."""
    if match := _BCD.match(register_type):
        return int(match[1]) // 4
    return int(register_type[1:]) // 16


def decode(point: Point, words: Sequence[int], times: Fraction = ONE) -> int | None:
    """The value of `point` from its registers, rounded half to even at the channel's decimals; None where missing.

    Missing are: the device's sentinels, NaN and infinity, impossible BCD digits, and what no 64-bit integer can hold.
    `times` is everything besides the factor that multiplies it.
    """
    over, under = point.worth
    return _scaled(point, words, 0, over * times.numerator, under * times.denominator)


def _scaled(point: Point, words: Sequence[int], first: int, over: int, under: int) -> int | None:
    """See `decode`; the point's registers begin at `first`, and one raw unit is worth over / under."""
    raw = 0
    for place in point.order:
        raw = raw << 16 | words[first + place]
    if raw in point.sentinels:
        return None
    ratio = _ratio(point.type, raw)
    if ratio is None:
        return None
    under *= ratio[1]
    value = ratio[0] * over if under == 1 else round_half_even(ratio[0] * over, under)
    return value if -INT64_MAX <= value <= INT64_MAX else None


def decode_from(block: "Block", point: Point, words: Sequence[int], ratios: Mapping[str, int]) -> int | None:
    """The value of `point` in the registers of `block`; also None while a ratio or the power of ten is not known."""
    over, under = point.worth
    for name in point.times:
        if name not in ratios:
            return None
        over *= ratios[name]
    if point.scale_addr is not None:
        exponent = _signed(words[point.scale_addr - block.addr], 16)
        if abs(exponent) > SCALE_MAX:
            return None
        if exponent > 0:
            over *= 10**exponent
        else:
            under *= 10**-exponent
    return _scaled(point, words, point.addr - block.addr, over, under)


def _ratio(register_type: str, raw: int) -> tuple[int, int] | None:
    """The exact number behind raw bits as a ratio of integers, None when it is not a number."""
    kind = register_type[0]
    if kind == "u":
        return raw, 1
    if kind == "f":
        bits, number = _FLOATS[register_type]
        (value,) = number.unpack(bits.pack(raw))
        return value.as_integer_ratio() if math.isfinite(value) else None
    if kind == "i":
        return _signed(raw, 16 * register_count(register_type)), 1
    digits = f"{raw:x}"
    match = _BCD.match(register_type)
    if match is None or not digits.isdecimal():
        return None
    return int(digits), 10 ** int(match[2] or 0)


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits if raw >> (bits - 1) else 0)


def plan_blocks(
    points: Sequence[Point], read_max: int, gap_max: int, forbidden: Sequence[tuple[int, int]] = ()
) -> list[Block]:
    """Few requests that cover `points`: at most `read_max` registers each, at most `gap_max` unused ones between.

    `forbidden` are ranges (both ends included) that no request may touch. A value never straddles two requests.
    """
    groups: list[list[Point]] = []
    ordered = sorted(points, key=lambda p: (p.fc, p.start, p.index))
    end = 0
    for point in ordered:
        start = groups[-1][0] if groups else None
        if (
            start is not None
            and start.fc == point.fc
            and point.start - end <= gap_max
            and max(end, point.end) - start.start <= read_max
            and not any(low < point.start and high >= end for low, high in forbidden)
        ):
            groups[-1].append(point)
            end = max(end, point.end)
        else:
            groups.append([point])
            end = point.end
    return [_block(group) for group in groups]


def split(block: Block) -> list[Block]:
    """Smaller requests for a device that refused this one: joined only where registers touch, else point by point."""
    parts = plan_blocks(block.points, read_max=block.count, gap_max=0)
    return parts if len(parts) > 1 else [_block([point]) for point in block.points]


def _block(points: list[Point]) -> Block:
    first = points[0]
    assert all(a.start <= b.start for a, b in pairwise(points)), "points come in order of address"
    return Block(first.fc, first.start, max(p.end for p in points) - first.start, tuple(points))
