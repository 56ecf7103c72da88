"""The state file: a plant goes on where it was, and never into a past in which registers would fall."""

from pathlib import Path

import pytest

from plantprint.times import SiteClock
from plantprint_simulators.config import DyehouseSettings
from plantprint_simulators.dyehouse import EXIT_FAILED, Dyehouse, run
from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.state import PlantState, load_state, save_state

NOW_S = 1_795_000_000


def test_a_new_plant_opens_after_its_lead_in(tmp_path: Path) -> None:
    state = load_state(tmp_path / "s.json", 7, NOW_S, 6)
    assert (state.start_s, state.opening_s, state.checkpoint_s) == (NOW_S, NOW_S + 6, NOW_S)
    assert state.confirmed_ms == state.opening_s * 1000


def test_state_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.json"
    state = PlantState(7, NOW_S, NOW_S + 6, NOW_S + 600, {"gas": 5}, (NOW_S + 500) * 1000, NOW_S + 50)
    save_state(path, state)
    assert load_state(path, 7, NOW_S + 700, 6) == state
    assert [p.name for p in path.parent.iterdir()] == ["s.json"]


def test_refusals_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    save_state(path, load_state(path, 7, NOW_S, 6))
    with pytest.raises(SimulatorError, match=r"s\.json: belongs to seed 7, not 8; use"):
        load_state(path, 8, NOW_S, 6)
    with pytest.raises(SimulatorError, match=r"registers never fall: run with the clock"):
        load_state(path, 7, NOW_S - 60, 6)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(SimulatorError, match=r"not a state file .* move it away"):
        load_state(path, 7, NOW_S, 6)


def test_registers_continue_in_a_second_run(tmp_path: Path) -> None:
    """A day later at sixty times the speed: each register stands where it was or higher, the plant is the same."""

    def settings(site_origin_ms: int) -> DyehouseSettings:
        clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=site_origin_ms, speed=0)
        return DyehouseSettings(clock=clock, plant_state=tmp_path / "s.json")

    first = Dyehouse(settings(NOW_S * 1000))
    before = first.look()
    first.save()
    second = Dyehouse(settings((NOW_S + 86_400) * 1000))
    after = second.look()
    assert second.schedule == first.schedule
    assert all(after.thousandths[name] >= before.thousandths[name] for name in before.thousandths)
    assert after.thousandths["incomer"] > 10 * 3_600_000_000 * 1000


def test_a_pause_beyond_the_backlog_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    save_state(path, load_state(path, 7, NOW_S, 6))
    clock = SiteClock("run", wall_origin_ms=0, site_origin_ms=(NOW_S + 7200) * 1000, speed=0)
    plant = Dyehouse(DyehouseSettings(clock=clock, plant_state=path, mes_backlog_h=1))
    events = plant.outlet.due((NOW_S + 7200) * 1000, 0.0)
    assert plant.outlet.counts.skipped > 300
    assert min(event.at_ms for event in events if event.kind != "lot") >= (NOW_S + 3600) * 1000
    assert not any(event.kind == "job_end" for event in events[:5])
    plant.save()
    assert load_state(path, 7, NOW_S + 7200, 6).ordered_from_s == NOW_S + 3600


def test_a_plant_that_cannot_start_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = DyehouseSettings(mqtt_url="amqp://x", plant_state=tmp_path / "s.json")
    assert run(settings) == EXIT_FAILED
    assert "write it as mqtt://" in capsys.readouterr().out
    data = DyehouseSettings(clock=SiteClock("data"), plant_state=tmp_path / "s.json")
    assert run(data) == EXIT_FAILED
    assert "use wall or run" in capsys.readouterr().out


def test_settings_read_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTPRINT_CLOCK", '{"kind":"run","wall_origin_ms":1,"site_origin_ms":2,"speed":60}')
    monkeypatch.setenv("PLANTPRINT_MODBUS_PORTS", "[1501,1502,1503,1504]")
    settings = DyehouseSettings()
    assert settings.clock == SiteClock("run", 1, 2, 60)
    assert settings.modbus_ports == (1501, 1502, 1503, 1504)
