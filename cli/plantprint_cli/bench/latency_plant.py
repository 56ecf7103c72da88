"""The plant of `bench latency`: lines of a hundred meters behind gateways, and single meters that feed a batch alone.

Every line has four machines and some probes: work units that one meter feeds and one batch occupies, so that the batch's
exact amount tells which readings are in it.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from plantprint.facts import Channel, ProductionEvent
from plantprint.times import HOUR_MS, SiteClock
from plantprint_cli import setup
from plantprint_cli.bench import history
from plantprint_cli.bench.common import Conn, Json, Servers
from plantprint_cli.bench.edge_meters import Meter, energy_point
from plantprint_cli.bench.edge_meters import plant as modbus_plant
from plantprint_collector import store
from plantprint_collector.connection import connect

SITE = "load"
MODBUS_AGENT = "modbus-1"
METERS_PER_LINE = 100
_MACHINES = 4
# Few lines are read over Modbus, and their readings are judged apart.
_MODBUS_PROBES = 4
_WRITE_S_MAX = 60.0


@dataclass(frozen=True)
class Line:
    """A line and the channels of its meters; those at `probes` feed a batch alone."""

    name: str
    channels: tuple[Channel, ...]
    probes: tuple[int, ...]


@dataclass(frozen=True)
class Probe:
    """A meter alone behind a batch."""

    batch: str
    agent: str
    channel: str

    @property
    def is_modbus(self) -> bool:
        return self.agent == MODBUS_AGENT


def load_lines(gateways: int) -> list[Line]:
    """The meters of `plantprint load`; those of the probes fall due at different instants of the second, as all do."""
    return [
        Line(
            f"load-{n + 1}",
            tuple(Channel(f"load-{n + 1}", f"m{i:05d}.energy", "kWh", 2, "counter") for i in range(METERS_PER_LINE)),
            (n * 37 % METERS_PER_LINE,),
        )
        for n in range(gateways)
    ]


def modbus_lines(meters: Sequence[Meter]) -> list[Line]:
    """The simulated Modbus meters as the agent names their channels."""
    channels = []
    for meter in meters:
        name, point = energy_point(meter.model)
        channels.append(Channel(MODBUS_AGENT, f"m{meter.number}.{name}", point.unit, point.decimals, point.kind))
    every = METERS_PER_LINE // _MODBUS_PROBES
    return [
        Line(
            f"modbus-{n + 1}",
            tuple(channels[n * METERS_PER_LINE : (n + 1) * METERS_PER_LINE]),
            tuple((n * 37 + k * every) % METERS_PER_LINE for k in range(_MODBUS_PROBES)),
        )
        for n in range(len(meters) // METERS_PER_LINE)
    ]


def lines_of(meters: int, modbus: int) -> list[Line]:
    """So many meters in whole lines, `modbus` of them read over Modbus."""
    return [*modbus_lines(modbus_plant(modbus, 0)), *load_lines((meters - modbus) // METERS_PER_LINE)]


def probes(lines: Sequence[Line]) -> list[Probe]:
    return [
        Probe(_probe(line, number), line.channels[number].agent, line.channels[number].name)
        for line in lines
        for number in line.probes
    ]


def channels(lines: Sequence[Line]) -> list[Channel]:
    return list(chain.from_iterable(line.channels for line in lines))


def _probe(line: Line, number: int) -> str:
    return f"{line.name}-probe-{number}"


def _machines(line: Line) -> list[str]:
    return [f"{line.name}-m{i}" for i in range(_MACHINES)]


def set_up(conn: Conn, servers: Servers, dsn: str, lines: Sequence[Line], hour_end_ms: int) -> None:
    """Plant, jobs and the last hour up to its last minute; the site lives by its data until the measurement begins."""
    file = servers.instance.path / "bench-plant.yaml"
    file.write_text(json.dumps(plant(lines)), encoding="utf-8")
    setup.prepare(dsn, file, SiteClock("data", site_origin_ms=hour_end_ms - HOUR_MS))
    # Long before the first bucket with readings, of which a later start would leave a part to nobody.
    start_ms = hour_end_ms - HOUR_MS - 600_000
    for number, (batch, unit) in enumerate(_jobs(lines)):
        body: dict[str, Any] = {"job": f"job-{number}", "batch": batch, "work_unit": unit}
        store.insert_event(conn, SITE, ProductionEvent("bench", f"start-{number}", 0, "job_start", start_ms, body))
    with closing(connect(dsn, application="bench", timeout_s=_WRITE_S_MAX)) as writing:
        history.write_hour(writing, SITE, channels(lines), hour_end_ms)


def _jobs(lines: Sequence[Line]) -> Iterator[tuple[str, str]]:
    """Batch and work unit of each."""
    for line in lines:
        yield from ((unit, unit) for unit in (_probe(line, number) for number in line.probes))
        yield from ((f"lot-{unit}", unit) for unit in _machines(line))


def plant(lines: Sequence[Line]) -> Json:
    """Each machine of a line takes what a quarter of its other meters count."""
    centers, meters, flows = [], [], []
    for line in lines:
        machines = _machines(line)
        units = [*machines, *(_probe(line, number) for number in line.probes)]
        named = [{"id": unit, "name": {"en": unit}} for unit in units]
        centers.append({"id": line.name, "name": {"en": line.name}, "work_units": named})
        behind: dict[str, list[str]] = {unit: [] for unit in machines}
        for number, channel in enumerate(line.channels):
            meter = f"{line.name}-{number}"
            bindings = [{"channel": f"{channel.agent}/{channel.name}"}]
            meters.append({"id": meter, "name": {"en": meter}, "unit": "kWh", "bindings": bindings})
            if number in line.probes:
                flows.append({"from": "grid", "to": _probe(line, number), "amount": meter})
            else:
                behind[machines[number % _MACHINES]].append(meter)
        flows += [{"from": "grid", "to": unit, "amount": " + ".join(terms)} for unit, terms in behind.items()]
    grid = {
        "id": "grid",
        "name": {"en": "Grid"},
        "unit": "kWh",
        "kind": "grid",
        "factor": "cn.grid.2023.zhejiang",
        "scope": 2,
    }
    return {"plantprint": 1, "site": {"id": SITE, "name": {"en": "Bench"}}, "bucket_s": 10, "work_centers": centers,
            "sources": [grid], "meters": meters, "flows": flows}  # fmt: skip
