"""DL/T 645 meters as a whole: an independent one read to the last digit, through an agent, and by `plantprint edge probe`."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dlt645_rig import (
    ENERGY,
    IMPORT,
    METER,
    MeterLine,
    bcd,
    by_meter,
    di_of,
    frame,
    line_over_tcp,
    meters,
    nobody,
    package_meter,
    reading_once,
    values,
)
from edge_support import MemoryCollector, config, until
from line_rig import Rows
from structlog.testing import capture_logs
from typer.testing import CliRunner

from plantprint.times import SiteClock
from plantprint_cli.__main__ import app
from plantprint_edge.agent import Agent
from plantprint_edge.sources.dlt645_items import known_items
from plantprint_edge.sources.dlt645_line import Dlt645Line, NetworkLine
from plantprint_edge.sources.dlt645_probe import probe_meter

# Not among the items that ship: read by its identifier.
DEMAND = 0x02800004


def digits_of_items() -> dict[str, int]:
    """A value per item, with all its digits in use as far as the package allows: its energies end at 800 000."""
    chance = random.Random(645)
    digits = {}
    for name, item in known_items().items.items():
        limit = 1000 if "power_factor" in name else 8 * 10 ** (item.digits - 1)
        digits[name] = chance.randrange(limit // 8, limit) * (chance.choice([1, -1]) if item.signed else 1)
    return digits


@pytest.fixture(scope="module")
def peer() -> Iterator[MeterLine]:
    """The package `dlt645` as a meter that has a value for every item."""
    items = known_items().items
    served = {items[name].number: n / 10 ** items[name].wire_decimals for name, n in digits_of_items().items()}
    with package_meter(METER, served | {DEMAND: 12.3456}) as port:
        line = MeterLine(nobody)
        line.port = port
        yield line


async def test_every_item_of_an_independent_meter_is_read_back_equal(tmp_path: Path, peer: MeterLine) -> None:
    digits = digits_of_items()
    points = "".join(f"\n      - {{name: {n}, point: {n}}}" for n in digits)
    points += f"\n      - {{name: demand, di: '{DEMAND:08X}', format: XX.XXXX, unit: kW, kind: gauge, decimals: 4}}"
    (of,) = meters(tmp_path, peer, [METER], points, timeout_s=5)
    rows = Rows()
    # The package knows no blocks: the first round asks for them, the second for what is in them.
    counts = await reading_once(of, rows, rounds=2)
    assert {row[0]: row[2] for row in rows} == dict(enumerate([*digits.values(), 123_456]))
    assert counts.missing == 0
    assert not counts.errors


async def test_an_independent_meter_says_in_words_what_it_does_not_have(tmp_path: Path, peer: MeterLine) -> None:
    own = "\n      - {name: x, di: 02AA0100, format: XX.XX, unit: V, kind: gauge}" + ENERGY
    rows = Rows()
    with capture_logs() as logs:
        (of,) = meters(tmp_path, peer, [METER], own, timeout_s=5)
        counts = await reading_once(of, rows, rounds=3)
    assert values(rows) == {digits_of_items()["energy_active_import"]}
    assert counts.errors == {"no such data": 3}
    (told,) = [entry for entry in logs if entry["event"] == "value_not_there"]
    assert (told["di"], told["reason"]) == ("02AA0100", "no such data")


@pytest.mark.integration
async def test_an_agent_delivers_what_a_meter_says(tmp_path: Path, broker_url: str) -> None:
    async with line_over_tcp(by_meter) as line:
        source = f"""
  - source: dlt645
    name: m
    host: 127.0.0.1
    port: {line.port}
    address: "{METER}"
    interval_s: 0.2
    points: [{{name: incomer.energy, point: energy_active_import}}]
"""
        of = config(tmp_path, source, site="dlt645", url=broker_url)
        with MemoryCollector(broker_url, "dlt645") as collector:
            agent = Agent(of, SiteClock())
            run: asyncio.Task[Any] = asyncio.create_task(agent.run())
            await until(lambda: len(collector.rows()) >= 3, 20)
            agent.stop()
            assert await run == 0
    assert {(name, value) for (name, _), value in collector.rows().items()} == {("incomer.energy", 12345678)}


def probe(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["edge", "probe", "127.0.0.1", "--timeout", "5", *arguments])
    return result.exit_code, result.output or str(result.exception)


def test_a_probe_lists_what_a_meter_says_and_what_looks_wrong(peer: MeterLine) -> None:
    code, text = probe("--port", str(peer.port), "--dlt645", METER, "--json")
    said = json.loads(text)
    assert code == 1
    assert said["address"] == METER
    assert len(said["values"]) == len(known_items().items)
    energy = said["values"]["energy_active_import"]
    assert int(energy.replace(".", "")) == digits_of_items()["energy_active_import"]
    assert any(finding.startswith("power_active is") for finding in said["findings"])
    code, text = probe("--port", str(peer.port), "--dlt645", METER)
    assert code == 1
    assert f"{energy} kWh" in text
    code, text = probe("--port", str(peer.port), "--dlt645", "any", "--json")
    assert json.loads(text)["address"] == METER
    code, text = probe("--port", str(peer.port), "--dlt645", "twelve")
    assert code != 0
    assert "at most 12 digits, or any" in text


async def test_a_probe_finds_the_only_meter_of_a_line(tmp_path: Path) -> None:
    async def answer(meter: str, control: int, data: bytes) -> list[bytes]:
        if control == 0x13:
            assert meter == "A" * 12
            return [frame(METER, 0x93, bcd(METER))]
        said = {0x02010100: bcd("2301"), 0x02800002: bcd("5001"), IMPORT: bcd("00001234"), 0x02020100: b"\xff" * 3}
        return [frame(meter, 0x91, data + said[di]) if (di := di_of(data)) in said else frame(meter, 0xD1, b"\x02")]

    async with line_over_tcp(answer) as line:
        asked = Dlt645Line(NetworkLine("127.0.0.1", line.port), 2)
        report = await probe_meter(asked, None, 2)
        asked.close()
    assert report.address == METER
    assert {name: str(value) for name, value in report.values.items()} == {
        "energy_active_import": "12.34", "voltage_l1": "230.1", "frequency": "50.01",
    }  # fmt: skip
    assert report.absent["current_l1"] == "marked as missing"
    assert report.absent["voltage_l2"] == "no such data"
    assert report.findings == ()
