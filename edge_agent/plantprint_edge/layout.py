"""A whole block of registers → rows in one go, by a plan that is made once: how each value lies there, and its worth.

What one `struct` cannot say (decimal digits, powers of ten that are read beside the value, values that overlap) is decoded
value by value. `decode_from` is the yardstick: a layout finds what it finds, for any registers.
"""

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite, prod
from typing import cast

from plantprint.facts import Quality
from plantprint.quantities import INT64_MAX, round_half_even
from plantprint.wire.chunk import Row
from plantprint_edge.decode import Block, Point, decode_from

MEASURED = int(Quality.MEASURED)
CODES = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"}
# A 32-bit float has 24 binary digits, a 64-bit one 53: times a factor of 29 the product is exact, and so is its rounding.
EXACT_FACTOR_BITS = 29

# A number as `struct` unpacks it → the integer of its channel, None where it is missing.
Convert = Callable[[float], int | None]


@dataclass(frozen=True, slots=True)
class _Run:
    """Values that one `struct` unpacks, in their order; `turned` where the low word comes first."""

    unpack: Callable[[bytes], tuple[float, ...]]
    turned: bool
    fields: tuple[tuple[int, Convert | None], ...]


class Layout:
    """How the values of a block are found in its bytes while the ratios are these."""

    def __init__(self, block: Block, ratios: Mapping[str, int]) -> None:
        self._block = block
        self._ratios = dict(ratios)
        single = [point for point in block.points if not _is_plain(point, ratios)]
        plain = [point for point in block.points if _is_plain(point, ratios)]
        # One register is the same in both orders, so it goes where the others are.
        alone = "little" if all(p.word_order == "little" for p in plain if p.width > 1) else "big"
        self._runs = []
        for order in ("big", "little"):
            own = [point for point in plain if (point.word_order if point.width > 1 else alone) == order]
            run, overlapping = _run(block, own, ratios, turned=order == "little")
            self._runs += [run] if run.fields else []
            single += overlapping
        self._single = tuple(single)

    def rows(self, data: bytes, t_ms: int) -> list[Row]:
        """The values in the block's registers, two bytes each; what is missing has no row."""
        rows: list[Row] = []
        for run in self._runs:
            for (index, convert), raw in zip(
                run.fields, run.unpack(_turned(data) if run.turned else data), strict=True
            ):
                value = raw if convert is None else convert(raw)
                if value is not None:
                    rows.append((index, t_ms, cast("int", value), MEASURED))
        if self._single:
            words = struct.unpack(f">{self._block.count}H", data)
            for point in self._single:
                value = decode_from(self._block, point, words, self._ratios)
                if value is not None:
                    rows.append((point.index, t_ms, value, MEASURED))
        return rows


def _turned(data: bytes) -> bytes:
    """The registers in the opposite order, each as it is: a value whose low word came first has it last."""
    words = array("H", data)
    words.reverse()
    return words.tobytes()


def _is_plain(point: Point, ratios: Mapping[str, int]) -> bool:
    """Whether a `struct` can unpack it, and its worth is known. (The two zeros of floats are equal, as sentinels not.)"""
    known = point.scale_addr is None and not set(point.times) - ratios.keys()
    return known and point.type in CODES and not (point.type[0] == "f" and point.sentinels & _zeros(point))


def _zeros(point: Point) -> set[int]:
    return {0, 1 << (16 * point.width - 1)}


def _run(block: Block, points: Sequence[Point], ratios: Mapping[str, int], *, turned: bool) -> tuple[_Run, list[Point]]:
    """The run of `points`, and those of them that begin before another one ends."""
    form, at, fields, overlapping = ">", 0, [], []
    places = ((block.addr + block.count - p.addr - p.width if turned else p.addr - block.addr, p) for p in points)
    for place, point in sorted(places, key=lambda each: each[0]):
        if place < at:
            overlapping.append(point)
            continue
        form += f"{2 * (place - at)}x{CODES[point.type]}"
        fields.append((point.index, _convert(point, ratios)))
        at = place + point.width
    return _Run(_unpacker(form + f"{2 * (block.count - at)}x"), turned, tuple(fields)), overlapping


@cache
def _unpacker(form: str) -> Callable[[bytes], tuple[float, ...]]:
    return struct.Struct(form).unpack


def _convert(point: Point, ratios: Mapping[str, int]) -> Convert | None:
    """None where the number is the integer already."""
    worth = point.factor * prod(ratios[name] for name in point.times)
    sentinels = frozenset(_unpacked(point, raw) for raw in point.sentinels if raw >> (16 * point.width) == 0)
    make = _of_float if point.type[0] == "f" else _of_integer
    return make(16 * point.width, sentinels, *worth.as_integer_ratio())


# A plant has few types and scales and thousands of points: they share what is made for them.
@cache
def _of_integer(bits: int, sentinels: frozenset[float], over: int, under: int) -> Convert | None:
    fits = (1 << bits) * over // under < INT64_MAX
    if fits and not sentinels and over == under:
        return None

    def convert(number: float) -> int | None:
        if number in sentinels:
            return None
        product = cast("int", number) * over
        value = product if under == 1 else round_half_even(product, under)
        return value if fits or -INT64_MAX <= value <= INT64_MAX else None

    return convert


@cache
def _of_float(bits: int, sentinels: frozenset[float], over: int, under: int) -> Convert:
    quick = bits == 32 and under == 1 and over.bit_length() <= EXACT_FACTOR_BITS

    def convert(number: float) -> int | None:
        if not isfinite(number) or number in sentinels:
            return None
        if quick:
            value = round(number * over)
        else:
            above, below = number.as_integer_ratio()
            value = round_half_even(above * over, below * under)
        return value if -INT64_MAX <= value <= INT64_MAX else None

    return convert


def _unpacked(point: Point, raw: int) -> float:
    code, size = CODES[point.type], 2 * point.width
    (number,) = struct.unpack(f">{code}", raw.to_bytes(size, "big"))
    return cast("float", number)
