"""The dye house as a process: it serves, reports until it is confirmed, stops on SIGTERM, and goes on later."""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest
from pymodbus.client import AsyncModbusTcpClient

from plantprint.wire import messages, topics
from plantprint_simulators.broker import client
from plantprint_simulators.schedule import SOURCE

pytestmark = pytest.mark.integration

PROGRAM = """
import sys
from plantprint_simulators.config import DyehouseSettings
from plantprint_simulators.dyehouse import run
sys.exit(run(DyehouseSettings()))
"""


def free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [held.getsockname()[1] for held in sockets]


class Mes:
    """A reader of production events that confirms each but the first `deaf_to` it sees."""

    def __init__(self) -> None:
        self.seen: list[messages.EventMessage] = []
        self.arrived = asyncio.Semaphore(0)
        self.deaf_to = 3

    @property
    def has_shipped(self) -> bool:
        return any(event.kind == "shipment" for event in self.seen)

    async def read(self, connected: aiomqtt.Client, site: str) -> None:
        await connected.subscribe(topics.production(site, SOURCE), qos=1)
        async for message in connected.messages:
            assert isinstance(message.payload, bytes)
            event = messages.decode_event(message.payload)
            self.seen.append(event)
            self.arrived.release()
            if len(self.seen) > self.deaf_to:
                ack = messages.EventAck(event_id=event.event_id, revision=event.revision, status="stored")
                await connected.publish(topics.production_ack(site, SOURCE), messages.encode(ack), qos=1)


@asynccontextmanager
async def dye_house(environ: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, env=os.environ | environ)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def incomer_kwh(port: int) -> float:
    modbus = AsyncModbusTcpClient("127.0.0.1", port=port, timeout=3)
    try:
        for _ in range(100):
            if await modbus.connect():
                break
            await asyncio.sleep(0.1)
        answer = await modbus.read_input_registers(72, count=2, device_id=1)
        high, low = answer.registers
        (kwh,) = struct.unpack(">f", struct.pack(">HH", high, low))
        return float(kwh)
    finally:
        modbus.close()


def environment(site: str, broker_url: str, ports: list[int], folder: Path) -> dict[str, str]:
    now_ms = time.time_ns() // 1_000_000
    clock = {"kind": "run", "wall_origin_ms": now_ms, "site_origin_ms": now_ms, "speed": 30}
    return {
        "PLANTPRINT_SITE": site, "PLANTPRINT_MQTT_URL": broker_url, "PLANTPRINT_CLOCK": json.dumps(clock),
        "PLANTPRINT_MODBUS_PORTS": json.dumps(ports), "PLANTPRINT_PLANT_STATE": str(folder / "state.json"),
        "PLANTPRINT_LEAD_IN_S": "0.5", "PLANTPRINT_MES_CONFIRM_S": "0.5", "PLANTPRINT_PLANT_STATE_EVERY_S": "0.2",
    }  # fmt: skip


async def test_two_runs_of_one_plant(broker_url: str, site: str, tmp_path: Path) -> None:
    ports = free_ports(4)
    environ = environment(site, broker_url, ports, tmp_path)
    mes = Mes()
    async with client(broker_url, f"{site}-collector") as connected:
        reading = asyncio.create_task(mes.read(connected, site))
        registers = []
        for stop in (signal.SIGTERM, signal.SIGKILL):
            async with dye_house(environ) as process:
                registers.append(await incomer_kwh(ports[0]))
                async with asyncio.timeout(30):
                    for _ in range(40):
                        await mes.arrived.acquire()
                    while stop == signal.SIGKILL and not mes.has_shipped:
                        await mes.arrived.acquire()
                registers.append(await incomer_kwh(ports[0]))
                process.send_signal(stop)
                async with asyncio.timeout(10):
                    code = await process.wait()
                assert code == (0 if stop == signal.SIGTERM else -signal.SIGKILL)
        reading.cancel()
    assert registers == sorted(registers)
    assert registers[3] > registers[0] > 1000

    ids = [event.event_id for event in mes.seen]
    assert len(set(ids)) < len(ids), "the first events were not confirmed, so they had to come again"
    assert {event.event_id: event for event in mes.seen} == {event.event_id: event for event in reversed(mes.seen)}
    started = {event.body["job"] for event in mes.seen if event.kind == "job_start"}
    assert {event.body["job"] for event in mes.seen if event.kind == "job_end"} <= started
