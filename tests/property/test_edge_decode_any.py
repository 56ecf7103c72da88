"""Whatever stands in registers: decoding never raises, never invents, and a chain of models always ends."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from plantprint.quantities import INT64_MAX
from plantprint_edge.decode import Point, decode_from, plan_blocks, register_count
from plantprint_edge.layout import Layout
from plantprint_edge.sources.sunspec import MODELS_MAX, walk

TYPES = ["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd4", "bcd8.2", "bcd12.4", "bcd16"]
WORDS = st.integers(0, 0xFFFF) | st.sampled_from([0, 0x8000, 0x7FFF, 0xFFFF, 0x7FC0, 0x7F80, 0xFF80])
FACTORS = st.fractions(min_value=Fraction(1, 10**12), max_value=10**12)


@given(
    st.data(), st.sampled_from(TYPES), st.sampled_from(["big", "little"]), FACTORS, st.none() | st.integers(0, 30),
    st.lists(st.sampled_from(["ct", "pt"]), max_size=2, unique=True),
)  # fmt: skip
def test_any_registers_become_an_integer_or_nothing(
    data: st.DataObject, kind: str, order: str, factor: Fraction, scale_addr: int | None, times: list[str]
) -> None:
    point = Point(
        0, 3, 10, kind, "big" if order == "big" else "little", factor, scale_addr=scale_addr, times=tuple(times)
    )
    (block,) = plan_blocks([point], 120, 0)
    words = data.draw(st.lists(WORDS, min_size=block.count, max_size=block.count))
    ratios = data.draw(st.dictionaries(st.sampled_from(["ct", "pt"]), st.integers(1, 0xFFFE)))
    value = decode_from(block, point, words, ratios)
    assert value is None or (isinstance(value, int) and -INT64_MAX <= value <= INT64_MAX)
    if set(times) - ratios.keys():
        assert value is None
    if value is not None and scale_addr is not None:
        scale = words[scale_addr - block.addr]
        assert scale <= 10 or scale >= 0x10000 - 10


@st.composite
def any_points(draw: st.DrawFn) -> list[Point]:
    """Points that may share registers, have powers of ten or ratios, and sentinels among likely words."""
    points = []
    for index in range(draw(st.integers(1, 8))):
        kind, order = draw(st.sampled_from(TYPES)), draw(st.sampled_from(["big", "little"]))
        words = draw(
            st.lists(st.lists(WORDS, min_size=register_count(kind), max_size=register_count(kind)), max_size=2)
        )
        points.append(
            Point(
                index, 3, draw(st.integers(0, 20)), kind, "big" if order == "big" else "little",
                draw(st.sampled_from([Fraction(1), Fraction(1000), Fraction(1, 10), Fraction(2**31, 3)]) | FACTORS),
                frozenset(sum(word << 16 * i for i, word in enumerate(reversed(each))) for each in words),
                draw(st.none() | st.integers(0, 22)), tuple(draw(st.sets(st.sampled_from(["ct", "pt"])))),
            )
        )  # fmt: skip
    return points


@given(st.data(), any_points(), st.dictionaries(st.sampled_from(["ct", "pt"]), st.integers(1, 0xFFFE)))
def test_a_layout_finds_what_is_found_value_by_value(
    data: st.DataObject, points: list[Point], ratios: dict[str, int]
) -> None:
    for block in plan_blocks(points, 120, 30):
        words = data.draw(st.lists(WORDS, min_size=block.count, max_size=block.count))
        rows = Layout(block, ratios).rows(struct.pack(f">{block.count}H", *words), 1)
        one_by_one = [(p.index, 1, decode_from(block, p, words, ratios), 3) for p in block.points]
        assert sorted(rows) == sorted(row for row in one_by_one if row[2] is not None)
        assert all(type(value) is int for _, _, value, _ in rows)


@given(st.data(), st.sampled_from([kind for kind in TYPES if kind[0] in "uif"]))
def test_what_is_swapped_twice_is_the_same(data: st.DataObject, kind: str) -> None:
    words = data.draw(st.lists(WORDS, min_size=register_count(kind), max_size=register_count(kind)))
    big, little = (Point(0, 3, 0, kind, order, Fraction(1)) for order in ("big", "little"))
    (block,) = plan_blocks([big], 120, 0)
    assert decode_from(block, big, words, {}) == decode_from(block, little, words[::-1], {})


@given(st.lists(st.none() | st.tuples(WORDS, WORDS), min_size=1, max_size=80))
async def test_any_chain_of_models_ends(heads: list[tuple[int, int] | None]) -> None:
    asked = 0

    async def read(addr: int, count: int) -> Sequence[int] | None:
        nonlocal asked
        asked += 1
        assert addr >= 0
        assert addr + count <= 0x10000
        return (0x5375, 0x6E53) if asked == 1 else heads[asked % len(heads)]

    models = await walk(read)
    assert len(models) <= MODELS_MAX
    assert asked <= MODELS_MAX + 2
    assert all(a.addr < b.addr for a, b in pairwise(models))
