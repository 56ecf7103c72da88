"""Registers to integers: types, word orders, exact rounding, what is missing, and which blocks are read."""

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantprint_edge.decode import Block, Point, WordOrder, decode, plan_blocks, register_count, split
from plantprint_edge.layout import Layout
from plantprint_edge.meters import device_ids, find_device


def point(
    register_type: str, addr: int = 0, factor: Fraction = Fraction(1), order: WordOrder = "big", **more: object
) -> Point:
    fields: dict[str, object] = {"index": addr, "fc": 3, "addr": addr, "type": register_type, "word_order": order}
    return Point(**{**fields, "factor": factor, **more})  # type: ignore[arg-type]


def words(code: str, value: float) -> list[int]:
    data = struct.pack(f">{code}", value)
    return list(struct.unpack(f">{len(data) // 2}H", data))


INTEGERS = {"u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q"}


@given(st.data(), st.sampled_from(sorted(INTEGERS)), st.sampled_from(["big", "little"]))
def test_integers_come_back_in_both_word_orders(data: st.DataObject, name: str, order: WordOrder) -> None:
    bits = 16 * register_count(name)
    low, high = (0, 2**bits - 1) if name[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    value = data.draw(st.integers(low, high))
    registers = words(INTEGERS[name], value)
    got = decode(point(name, order=order), registers if order == "big" else registers[::-1])
    assert got == (value if abs(value) < 2**63 else None)


@given(st.floats(-1e6, 1e6, width=32), st.integers(0, 4))
def test_floats_are_rounded_half_to_even_from_their_exact_value(value: float, decimals: int) -> None:
    exact = Fraction(value) * 10**decimals
    assert decode(point("f32", factor=Fraction(10**decimals)), words("f", value)) == round(exact)


def test_a_scale_is_exact_where_floats_are_not() -> None:
    # 0.1 has no binary form: 3 x 0.1 would be 0.30000000000000004.
    assert decode(point("u16", factor=Fraction(1, 10) * 1000), [3]) == 300
    assert decode(point("f32", factor=Fraction(100)), words("f", 0.125)) == 12
    assert decode(point("f32", factor=Fraction(100)), words("f", 0.375)) == 38


@pytest.mark.parametrize("factor", [1, 1000, 2**29 - 1, 2**29 + 1, 3**25])
def test_a_layout_is_exact_also_where_a_product_of_floats_is_not(factor: int) -> None:
    """24 binary digits, the last of them set, times a factor of up to 40."""
    registers = words("f", 8_388_607.5)
    block = Block(3, 0, 2, (point("f32", factor=Fraction(factor)),))
    ((_, _, value, _),) = Layout(block, {}).rows(struct.pack(">2H", *registers), 1)
    assert value == round(Fraction(16_777_215, 2) * factor)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("name", "code"), [("f32", "f"), ("f64", "d")])
def test_what_is_no_number_is_missing(name: str, code: str, bad: float) -> None:
    assert decode(point(name), words(code, bad)) is None


def test_sentinels_are_missing_and_zero_is_not() -> None:
    meter = point("u32", sentinels=frozenset({0xFFFFFFFF}))
    assert decode(meter, [0xFFFF, 0xFFFF]) is None
    assert decode(meter, [0xFFFF, 0xFFFE]) == 0xFFFFFFFE
    assert decode(meter, [0, 0]) == 0


def test_bcd_counts_beyond_what_a_float_can() -> None:
    counter = point("bcd12.4", factor=Fraction(10_000))
    assert decode(counter, [0x1234, 0x5686, 0x4222]) == 123456864222
    assert decode(counter, [0x1234, 0x5A86, 0x4222]) is None
    assert decode(counter, [0xFFFF, 0xFFFF, 0xFFFF]) is None


def test_neighbours_are_read_together_up_to_gap_and_limit() -> None:
    points = [point("f32", addr) for addr in (52, 72, 74, 342, 200)]
    blocks = plan_blocks(points, read_max=80, gap_max=20)
    assert [(b.addr, b.count) for b in blocks] == [(52, 24), (200, 2), (342, 2)]
    assert [(b.addr, b.count) for b in plan_blocks(points, read_max=80, gap_max=0)] == [
        (52, 2),
        (72, 4),
        (200, 2),
        (342, 2),
    ]
    assert plan_blocks(points, read_max=20, gap_max=20)[0].count == 2


def test_forbidden_registers_are_never_read_along() -> None:
    points = [point("u16", addr) for addr in (0, 5, 9)]
    assert [(b.addr, b.count) for b in plan_blocks(points, 120, 10, [(6, 7)])] == [(0, 6), (9, 1)]


def test_function_codes_are_not_mixed() -> None:
    points = [point("u16", 0), point("u16", 1, fc=4)]
    assert [(b.fc, b.addr) for b in plan_blocks(points, 120, 10)] == [(3, 0), (4, 1)]


def test_a_refused_block_is_taken_apart() -> None:
    (block,) = plan_blocks([point("u16", addr) for addr in (0, 1, 5)], 120, 10)
    parts = split(block)
    assert [(b.addr, b.count) for b in parts] == [(0, 2), (5, 1)]
    assert [(b.addr, b.count) for b in split(parts[0])] == [(0, 1), (1, 1)]


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(["u16", "f32", "i64", "bcd12.4"])), min_size=1, max_size=30
    ),
    st.integers(4, 125),
    st.integers(0, 50),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20)), max_size=3),
)
def test_every_point_is_read_once_within_all_limits(
    places: list[tuple[int, str]], read_max: int, gap_max: int, holes: list[tuple[int, int]]
) -> None:
    taken = {a for addr, kind in places for a in range(addr, addr + register_count(kind))}
    forbidden = [(a, a + n) for a, n in holes if not taken & set(range(a, a + n + 1))]
    points = [point(kind, addr, index=i) for i, (addr, kind) in enumerate(places)]
    blocks = plan_blocks(points, read_max, gap_max, forbidden)
    assert sorted(p.index for b in blocks for p in b.points) == list(range(len(points)))
    for block in blocks:
        _check(block, read_max, gap_max, forbidden)


def _check(block: Block, read_max: int, gap_max: int, forbidden: list[tuple[int, int]]) -> None:
    assert block.count <= read_max
    registers = set(range(block.addr, block.addr + block.count))
    used = {a for p in block.points for a in range(p.addr, p.addr + p.width)}
    assert used <= registers
    assert not any(registers & set(range(low, high + 1)) for low, high in forbidden)
    gap = 0
    for register in sorted(registers):
        gap = 0 if register in used else gap + 1
        assert gap <= gap_max


@pytest.mark.parametrize("device_id", device_ids())
def test_every_device_of_the_library_can_be_read(device_id: str) -> None:
    device = find_device(device_id)
    assert device is not None
    assert device.id == device_id
    points = [point(p.type, p.addr, fc=device.fc) for p in device.points.values()]
    blocks = plan_blocks(points, device.read_max, device.gap_max, device.forbidden)
    assert sum(len(b.points) for b in blocks) == len(device.points)


def test_an_unknown_device_is_none() -> None:
    assert find_device("../agent") is None
