"""The shipped plants: model and gateway configuration agree with each other, the library and the simulator."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from plantprint.factors import builtin_factors, choose_factor, latest
from plantprint.facts import Issue
from plantprint.plant.check import check_plant
from plantprint.plant.model import Plant
from plantprint.quantities import conversion
from plantprint_edge.channels import all_channels
from plantprint_edge.config import AgentConfig, ReplaySource
from plantprint_edge.load import load_config
from plantprint_edge.sources.replay import read_records
from plantprint_simulators.meters import METERS, MODBUS_DEVICES, mqtt_devices
from plantprint_simulators.plants import (
    PlantName,
    plant_file,
    recorded_file,
    render_agent_config,
    render_recorded_config,
)
from plantprint_simulators.process import UNITS
from plantprint_simulators.schedule import Schedule

NAMES: tuple[PlantName, ...] = ("dyehouse", "steel", "pv", "house")


def plant(name: PlantName) -> Plant:
    return Plant.model_validate(yaml.safe_load(plant_file(name).read_text(encoding="utf-8")))


def config(name: PlantName, folder: Path) -> AgentConfig:
    url, outbox = "mqtt://127.0.0.1:1883", folder / "an outbox: #1.db"
    text = (
        render_agent_config("dyehouse", (1501, 1502, 1503, 1504), url, url, outbox)
        if name == "dyehouse"
        else render_recorded_config(name, url, outbox)
    )
    (folder / "agent.yaml").write_text(text, encoding="utf-8")
    return load_config(folder / "agent.yaml", {})


@pytest.mark.parametrize("name", NAMES)
def test_models_are_without_issues(name: PlantName) -> None:
    # The recorded PV site has a check meter: in no flow on purpose, each interval is compared with it.
    wanted = [("warning", "consumption")] if name == "pv" else []
    assert [(i.severity, w) for i in check_plant(plant(name)) for w in ["consumption"] if w in i.message] == wanted
    assert len(check_plant(plant(name))) == len(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_every_source_has_a_factor(name: PlantName) -> None:
    library = latest(builtin_factors())
    assert not [c for s in plant(name).sources if isinstance(c := choose_factor(s, library), Issue)]


@pytest.mark.parametrize("name", NAMES)
def test_the_gateway_declares_what_the_model_binds(name: PlantName, tmp_path: Path) -> None:
    read = config(name, tmp_path)
    assert read.outbox.path == tmp_path / "an outbox: #1.db"
    channels = {channel.key: channel for channel in all_channels(read)}
    for meter in plant(name).meters:
        for binding in meter.bindings:
            assert conversion(channels[binding.channel].unit, meter.unit) > 0


def test_the_dye_house_is_the_simulators() -> None:
    model = plant("dyehouse")
    assert {u.id for center in model.work_centers for u in center.work_units} == set(UNITS)
    assert {m.id: m.unit for m in model.meters} == {name: meter.unit for name, meter in METERS.items()}
    steps = {u.id: u.step for center in model.work_centers for u in center.work_units}
    assert all(steps[job.unit] == job.step for job in Schedule(7, 0).jobs(0, 2000))


def test_the_gateway_reads_every_simulated_device(tmp_path: Path) -> None:
    sources = config("dyehouse", tmp_path).sources
    modbus = {(s.port, s.unit_id, s.device) for s in sources if s.source == "modbus"}
    ports = {"main": 1501, "line-1": 1502, "line-2": 1503, "line-3": 1504}
    assert modbus == {(ports[d.gateway], d.unit_id, d.model) for d in MODBUS_DEVICES}
    topics = {t.topic for s in sources if s.source == "mqtt" for t in s.topics}
    assert topics == {d.topic for d in mqtt_devices("dyehouse")}


@pytest.mark.parametrize("name", ["steel", "pv", "house"])
def test_recorded_plants_replay_their_own_file(name: PlantName, tmp_path: Path) -> None:
    assert name != "dyehouse"
    (source,) = config(name, tmp_path).sources
    assert isinstance(source, ReplaySource)
    assert source.file == recorded_file(name)
    assert source.file.is_file()
    assert (source.file.parent / "CREDITS.md").is_file()


@pytest.mark.parametrize(
    ("name", "sums"), [("steel", (95_963_671,)), ("pv", (6_243_751_800, 4_756_755_100, 2_050_722_200, 3_537_718_900))]
)
def test_recorded_years_are_read_without_gap_and_to_the_last_digit(
    name: PlantName, sums: tuple[int, ...], tmp_path: Path
) -> None:
    """Sums as published: 959 636.7 kWh; 62 437.5, 47 567.6, 20 507.2 and 35 377.2 kWh, here at the channels' decimals."""
    (source,) = config(name, tmp_path).sources
    assert isinstance(source, ReplaySource)
    records = list(read_records(source))
    assert {after.end_ms - before.end_ms for before, after in pairwise(records)} == {900_000}
    assert len(records) == 365 * 96
    assert (
        tuple(sum(value or 0 for value in column) for column in zip(*(r.values for r in records), strict=True)) == sums
    )
