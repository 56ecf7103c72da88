"""The machine's time beside the steady clock: 1970 and back, steps, summer time, and readings from before the time is known."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from edge_support import config
from structlog.testing import capture_logs

from plantprint.times import SiteClock, parse_instant
from plantprint.wire.chunk import Row, decode_rows, unseal
from plantprint_edge import clock as clocks
from plantprint_edge.channels import all_channels, tables
from plantprint_edge.chunker import Chunker
from plantprint_edge.clock import Clock
from plantprint_edge.committer import Committer
from plantprint_edge.config import ChunkLimits
from plantprint_edge.outbox import Outbox

NOW = parse_instant("2026-11-24T09:00:00Z")
BOOT_1970 = 4_000


@dataclass
class Machine:
    """A machine whose two clocks the test turns."""

    wall_ms: int = NOW
    steady_ms: int = 77_000

    def passes(self, ms: int) -> None:
        self.wall_ms += ms
        self.steady_ms += ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(clocks, "wall_ms", lambda: made.wall_ms)
    monkeypatch.setattr(clocks, "steady_ms", lambda: made.steady_ms)
    return made


def test_a_jump_to_1970_and_back_moves_no_reading(machine: Machine) -> None:
    clock = Clock(SiteClock())
    with capture_logs() as logs:
        assert clock.now_ms() == NOW
        machine.passes(1_000)
        machine.wall_ms = BOOT_1970
        assert clock.now_ms() == NOW + 1_000
        machine.passes(5_000)
        assert clock.now_ms() == NOW + 6_000
        machine.wall_ms = NOW + 6_100
        assert clock.now_ms() == NOW + 6_100
    assert clock.steps == 0, "a tenth of a second is no step"
    assert [entry["event"] for entry in logs] == ["clock_unbelievable"]
    assert logs[0]["says"] == "1970-01-01T00:00:04Z"
    assert "synchronise" in logs[0]["remedy"]


@pytest.mark.parametrize("step_ms", [90_000, -90_000, 86_400_000])
def test_a_step_is_believed_counted_and_told(machine: Machine, step_ms: int) -> None:
    clock = Clock(SiteClock())
    clock.now_ms()
    machine.passes(1_000)
    machine.wall_ms += step_ms
    with capture_logs() as logs:
        assert clock.now_ms() == NOW + 1_000 + step_ms
        machine.passes(1_000)
        assert clock.now_ms() == NOW + 2_000 + step_ms
    assert (clock.steps, clock.last_step_s) == (1, step_ms / 1000)
    assert [entry["event"] for entry in logs] == ["clock_stepped"]


def test_slow_correction_is_no_step(machine: Machine) -> None:
    clock = Clock(SiteClock())
    for _ in range(1_000):
        machine.passes(1_000)
        machine.wall_ms += 100
        assert clock.now_ms() == machine.wall_ms
    assert clock.steps == 0


def test_a_process_that_was_stopped_between_two_looks_sees_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = iter([1_000, 1_001, 2_000, 99_000, 99_000, 99_000])
    wall = iter([NOW, NOW + 97_000, NOW + 97_999])
    monkeypatch.setattr(clocks, "wall_ms", lambda: next(wall))
    monkeypatch.setattr(clocks, "steady_ms", lambda: next(steady))
    clock = Clock(SiteClock())
    clock.now_ms()
    assert clock.now_ms() == NOW + 97_999
    assert clock.steps == 0


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("change", ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"])
def test_summer_time_neither_repeats_nor_leaves_out_an_instant(machine: Machine, change: str) -> None:
    """A gateway set to local time: an hour before to an hour after the change, second by second."""
    clock = Clock(SiteClock())
    machine.wall_ms = parse_instant(change) - 3_600_000
    clock.now_ms()
    steps, local = clock.steps, set[int]()
    for second in range(1, 7_200):
        machine.passes(1_000)
        assert clock.now_ms() == parse_instant(change) - 3_600_000 + 1_000 * second
        local.add(time.localtime(machine.wall_ms / 1000).tm_hour)
    assert clock.steps == steps
    assert len(local) == (2 if "03-29" in change else 1), "the zone does change here"


def test_a_site_with_a_time_of_its_own_waits_for_nothing(machine: Machine) -> None:
    machine.wall_ms = BOOT_1970
    assert Clock(SiteClock("data")).dates
    assert not Clock(SiteClock()).dates


# --- readings from before the time is known --------------------------------------------------------------------------


@dataclass
class Rig:
    chunker: Chunker
    committer: Committer
    clock: Clock

    async def stored(self) -> list[Row]:
        await self.chunker.flush()
        chunks = await self.committer.call(lambda outbox: outbox.next_unacked(0, 2**62, 1000))
        return [
            row for c in chunks for row in decode_rows(*unseal(c.payload)) if unseal(c.payload)[0].kind == "readings"
        ]


@pytest.fixture
async def rig(tmp_path: Path, machine: Machine) -> AsyncIterator[Rig]:
    machine.wall_ms = BOOT_1970
    of = config(tmp_path)
    committer = Committer(of.outbox, lambda: Outbox(of.outbox, of.site, of.agent, lambda: 0))
    await committer.start()
    clock = Clock(SiteClock())
    limits = ChunkLimits(rows_max=10, age_ms_max=20, undated_rows_max=30)
    yield Rig(Chunker(committer, tables(all_channels(of)), limits, clock), committer, clock)
    await committer.close()


async def test_readings_are_dated_once_the_time_is_known(rig: Rig, machine: Machine) -> None:
    port = rig.chunker.port(0)
    futures = []
    for value in range(25):
        futures += await port.put([(0, rig.clock.now_ms(), value, 3)])
        machine.passes(1_000)
    await asyncio.sleep(0.1)
    assert rig.chunker.undated_rows == 25
    assert not any(future.done() for future in futures), "what waits is not on disk, and nobody may be told so"
    machine.wall_ms = NOW
    futures += await port.put([(0, rig.clock.now_ms(), 25, 3)])
    rows = await rig.stored()
    assert sorted(rows) == [(0, NOW - (25 - value) * 1_000, value, 3) for value in range(26)]
    assert rig.chunker.undated_rows == 0
    assert all([await future for future in futures])
    assert rig.clock.steps == 0


async def test_what_a_device_dates_itself_does_not_wait(rig: Rig) -> None:
    await rig.chunker.port(0).put([(0, NOW, 1, 3), (0, rig.clock.now_ms(), 2, 3)])
    await asyncio.sleep(0.1)
    assert rig.chunker.undated_rows == 1
    assert await rig.stored() == [(0, NOW, 1, 3)]


async def test_more_than_there_is_room_for_is_lost_and_counted_oldest_first(rig: Rig, machine: Machine) -> None:
    port = rig.chunker.port(0)
    futures = [(await port.put([(0, rig.clock.now_ms() + value, value, 3)]))[0] for value in range(45)]
    await asyncio.sleep(0.1)
    assert rig.chunker.undated_rows_lost == 20
    assert [await future for future in futures[:20]] == [False] * 20
    machine.wall_ms = NOW
    assert [value for _, _, value, _ in sorted(await rig.stored())] == list(range(20, 45))


async def test_a_stop_before_the_time_is_known_counts_what_it_loses(rig: Rig) -> None:
    (future,) = await rig.chunker.port(0).put([(0, rig.clock.now_ms(), 1, 3)])
    with capture_logs() as logs:
        assert await rig.stored() == []
    assert (rig.chunker.undated_rows, rig.chunker.undated_rows_lost, await future) == (0, 1, False)
    assert "a time server" in logs[0]["remedy"]
