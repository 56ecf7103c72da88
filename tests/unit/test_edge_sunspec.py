"""SunSpec discovery: the marker at its three places, the chain, and chains that lie."""

from collections.abc import Sequence

import pytest

from plantprint_edge.sources.sunspec import MODELS_MAX, Model, Read, find, walk


def device(registers: dict[int, int], asked: list[tuple[int, int]] | None = None) -> Read:
    async def read(addr: int, count: int) -> Sequence[int] | None:
        if asked is not None:
            asked.append((addr, count))
        words = [registers.get(addr + i) for i in range(count)]
        return None if None in words else [word for word in words if word is not None]

    return read


def chain(place: int, models: Sequence[tuple[int, int]]) -> dict[int, int]:
    registers, addr = {place: 0x5375, place + 1: 0x6E53}, place + 2
    for number, length in (*models, (0xFFFF, 0)):
        registers |= {addr: number, addr + 1: length}
        addr += 2 + length
    return registers


@pytest.mark.parametrize("place", [40_000, 0, 50_000])
async def test_models_are_found_wherever_the_marker_stands(place: int) -> None:
    models = await walk(device(chain(place, [(1, 66), (103, 50), (120, 26)])))
    assert models == [Model(1, place + 2, 66), Model(103, place + 70, 50), Model(120, place + 122, 26)]
    assert find(models, (101, 103)) == Model(103, place + 70, 50)
    assert find(models, (203,)) is None


async def test_without_marker_there_is_nothing() -> None:
    asked: list[tuple[int, int]] = []
    assert await walk(device({}, asked)) == []
    assert await walk(device({40_000: 1, 40_001: 2})) == []
    assert asked == [(40_000, 2), (0, 2), (50_000, 2)]


async def test_a_chain_that_never_ends_is_left() -> None:
    async def endless(addr: int, count: int) -> Sequence[int]:
        return [0x5375, 0x6E53] if addr == 40_000 else [103, 0]

    assert len(await walk(endless)) == MODELS_MAX


@pytest.mark.parametrize("length", [0xFFFF, 30_000])
async def test_a_length_beyond_the_last_register_ends_the_chain(length: int) -> None:
    assert await walk(device({40_000: 0x5375, 40_001: 0x6E53, 40_002: 1, 40_003: length})) == [Model(1, 40_002, length)]


async def test_a_chain_that_breaks_off_keeps_what_was_found() -> None:
    registers = chain(40_000, [(1, 66)])
    del registers[40_070]
    assert await walk(device(registers)) == [Model(1, 40_002, 66)]
