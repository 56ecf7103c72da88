"""When each device is polled: one after the other, as far apart as their number allows."""

import asyncio
import gc
import importlib
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from edge_support import config

from plantprint.times import SiteClock
from plantprint_edge import clock as clocks
from plantprint_edge import loop
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.running import phases_s
from plantprint_edge.sources.modbus import ModbusReader

ONE = (
    "\n  - {source: modbus, name: m%d, host: h, interval_s: %s,"
    " points: [{name: c%d, addr: 0, type: u16, kind: counter, unit: kWh, decimals: 0}]}"
)


@pytest.mark.parametrize(("n", "spacing_ms", "apart_s"), [(10, 1, 0.001), (200, 1, 0.0005), (10, 0, 0.0)])
def test_polls_begin_apart_and_all_within_an_interval(tmp_path: Path, n: int, spacing_ms: int, apart_s: float) -> None:
    text = "".join(ONE % (i, 0.1, i) for i in range(n)) + "\n"
    phases = list(phases_s(config(tmp_path, text, f"poll_spacing_ms: {spacing_ms}")).values())
    assert all(b - a == pytest.approx(apart_s) for a, b in pairwise(phases))
    assert max(phases) < 0.1


def test_without_uvloop_the_agent_runs_on_the_loop_of_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    try:
        assert importlib.reload(loop).new_loop is asyncio.new_event_loop
    finally:
        monkeypatch.undo()
        importlib.reload(loop)


def test_what_is_settled_is_not_searched_for_garbage_any_more() -> None:
    try:
        loop.settle()
        assert gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(("speed", "expected_s"), [(1, 0.07), (60, 0.07)])
def test_a_device_is_due_at_its_phase_of_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speed: int, expected_s: float
) -> None:
    now_ms = 1_800_000_000_000
    monkeypatch.setattr(clocks, "wall_ms", lambda: now_ms)
    site = SiteClock("run", wall_origin_ms=now_ms, site_origin_ms=now_ms, speed=speed)
    source = config(tmp_path, ONE % (1, 0.1, 1) + "\n").sources[0]
    assert isinstance(source, ModbusSource)
    reader = ModbusReader(source, 0, None, Clock(site))  # type: ignore[arg-type]
    reader.phase_s = 0.07
    assert reader._until_next_s() == pytest.approx(expected_s)
