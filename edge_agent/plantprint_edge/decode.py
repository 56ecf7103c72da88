"""Registers → integers at a channel's decimals: word order, types, sentinels, exact scaling; and which blocks to read.

All of it is pure: words in, integers out. What a device marks as missing is no value, never zero.
"""

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from plantprint.quantities import INT64_MAX, round_half_even

WordOrder = Literal["big", "little"]
TYPE_PATTERN = r"^([uif]64|[uif]32|[ui]16|bcd(4|8|12|16)(\.\d)?)$"
_BCD = re.compile(r"^bcd(\d+)(?:\.(\d))?$")


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a device: where it stands, how it is read, and how it becomes the integer of channel `index`.

    `addr` is the zero-based wire address, `factor` what one raw unit is worth in 10^-decimals of the channel's unit.
    """

    index: int
    fc: Literal[3, 4]
    addr: int
    type: str
    word_order: WordOrder
    factor: Fraction
    sentinels: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        return register_count(self.type)


@dataclass(frozen=True, slots=True)
class Block:
    """Registers that are read with one request, and the points inside."""

    fc: Literal[3, 4]
    addr: int
    count: int
    points: tuple[Point, ...]


def register_count(register_type: str) -> int:
    """How many 16-bit registers a value of this type takes."""
    if match := _BCD.match(register_type):
        return int(match[1]) // 4
    return int(register_type[1:]) // 16


def decode(point: Point, words: Sequence[int]) -> int | None:
    """The value of `point` from its registers, rounded half to even at the channel's decimals; None where missing.

    Missing are: the device's sentinels, NaN and infinity, impossible BCD digits, and what no 64-bit integer can hold.
    """
    raw = 0
    for word in words if point.word_order == "big" else reversed(words):
        raw = raw << 16 | word
    if raw in point.sentinels:
        return None
    ratio = _ratio(point.type, raw)
    if ratio is None:
        return None
    value = round_half_even(ratio[0] * point.factor.numerator, ratio[1] * point.factor.denominator)
    return value if -INT64_MAX <= value <= INT64_MAX else None


def _ratio(register_type: str, raw: int) -> tuple[int, int] | None:
    """The exact number behind raw bits as a ratio of integers, None when it is not a number."""
    kind, bits = register_type[0], 16 * register_count(register_type)
    if kind == "u":
        return raw, 1
    if kind == "i":
        return raw - (1 << bits if raw >> (bits - 1) else 0), 1
    if kind == "f":
        (number,) = struct.unpack(">f" if bits == 32 else ">d", raw.to_bytes(bits // 8, "big"))
        return number.as_integer_ratio() if math.isfinite(number) else None
    digits = f"{raw:x}"
    match = _BCD.match(register_type)
    if match is None or not digits.isdecimal():
        return None
    return int(digits), 10 ** int(match[2] or 0)


def plan_blocks(
    points: Sequence[Point], read_max: int, gap_max: int, forbidden: Sequence[tuple[int, int]] = ()
) -> list[Block]:
    """Few requests that cover `points`: at most `read_max` registers each, at most `gap_max` unused ones between.

    `forbidden` are ranges (both ends included) that no request may touch. A value never straddles two requests.
    """
    groups: list[list[Point]] = []
    ordered = sorted(points, key=lambda p: (p.fc, p.addr, p.index))
    end = 0
    for point in ordered:
        start = groups[-1][0] if groups else None
        if (
            start is not None
            and start.fc == point.fc
            and point.addr - end <= gap_max
            and max(end, point.addr + point.width) - start.addr <= read_max
            and not any(low < point.addr and high >= end for low, high in forbidden)
        ):
            groups[-1].append(point)
            end = max(end, point.addr + point.width)
        else:
            groups.append([point])
            end = point.addr + point.width
    return [_block(group) for group in groups]


def split(block: Block) -> list[Block]:
    """Smaller requests for a device that refused this one: joined only where registers touch, else point by point."""
    parts = plan_blocks(block.points, read_max=block.count, gap_max=0)
    return parts if len(parts) > 1 else [_block([point]) for point in block.points]


def _block(points: list[Point]) -> Block:
    first = points[0]
    assert all(a.addr <= b.addr for a, b in pairwise(points)), "points come in order of address"
    count = max(p.addr + p.width for p in points) - first.addr
    return Block(first.fc, first.addr, count, tuple(points))
