"""The dye house's devices over real Modbus TCP and MQTT: what a client reads is the physics of that instant."""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack

import aiomqtt
import pytest
from pymodbus.client import AsyncModbusTcpClient

from plantprint.times import parse_instant
from plantprint_simulators.broker import client
from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.meters import GATEWAYS, MODBUS_DEVICES, ModbusDevice, mqtt_devices
from plantprint_simulators.modbus import serve_gateways
from plantprint_simulators.mqtt_devices import publish_devices
from plantprint_simulators.physics import Total, Totals
from plantprint_simulators.schedule import Schedule

pytestmark = pytest.mark.integration

SEED = 7
OPENING_S = 1_795_000_000

# Function code, address, registers and `struct` code of counter and power, from the makers' maps; power in kW.
MAPS = {
    "eastron_sdm630": ((4, 72, "f", 1.0), (4, 52, "f", 0.001)),
    "acrel_adl400": ((3, 10, "I", 0.01), (3, 362, "i", 0.001)),
    "siemens_pac2200": ((3, 801, "d", 0.001), (3, 65, "f", 0.001)),
    "schneider_iem3000": ((3, 3203, "q", 0.001), (3, 3059, "f", 1.0)),
    "fuxin_gas_flow": ((3, 12, "f", 1.0), (3, 16, "f", 1.0)),
}


def free_ports(number: int) -> tuple[int, ...]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return tuple(held.getsockname()[1] for held in sockets)


class Bench:
    """The plant's gateways on free ports, with an instant that the test sets."""

    def __init__(self) -> None:
        self.totals = Totals(Schedule(SEED, OPENING_S), OPENING_S - 6)
        self.now_ms = (OPENING_S + 40) * 1000
        self.ports = free_ports(len(GATEWAYS))

    def look(self) -> Total:
        return self.totals.at(self.now_ms)


async def with_client(bench: Bench, gateway: str, use: Callable[[AsyncModbusTcpClient], Awaitable[None]]) -> None:
    async with AsyncExitStack() as stack:
        await serve_gateways(stack, "127.0.0.1", bench.ports, SEED, bench.look)
        modbus = AsyncModbusTcpClient("127.0.0.1", port=bench.ports[GATEWAYS.index(gateway)], timeout=3)
        assert await modbus.connect()
        try:
            await use(modbus)
        finally:
            modbus.close()


async def read(modbus: AsyncModbusTcpClient, unit_id: int, point: tuple[int, int, str, float]) -> float:
    function, address, code, scale = point
    ask = modbus.read_input_registers if function == 4 else modbus.read_holding_registers
    answer = await ask(address, count=struct.calcsize(f">{code}") // 2, device_id=unit_id)
    assert not answer.isError(), answer
    (value,) = struct.unpack(f">{code}", struct.pack(f">{len(answer.registers)}H", *answer.registers))
    return float(value) * scale


@pytest.mark.parametrize("device", MODBUS_DEVICES, ids=lambda d: d.meter.name)
async def test_a_read_gives_the_physics(device: ModbusDevice) -> None:
    bench = Bench()
    counter, power = MAPS[device.model]

    async def check(modbus: AsyncModbusTcpClient) -> None:
        for second in (40, 41, 100):
            bench.now_ms = (OPENING_S + second) * 1000 + 500
            total, meter = bench.look(), device.meter
            count = meter.count(SEED, total) / 10**meter.decimals
            assert await read(modbus, device.unit_id, counter) == pytest.approx(count, rel=1e-7)
            assert await read(modbus, device.unit_id, power) == pytest.approx(meter.per_hour(total), rel=1e-6, abs=1e-3)

    await with_client(bench, device.gateway, check)


async def test_the_gas_computer_counts_in_decimal_digits() -> None:
    bench = Bench()
    device = next(d for d in MODBUS_DEVICES if d.model == "fuxin_gas_flow")

    async def check(modbus: AsyncModbusTcpClient) -> None:
        answer = await modbus.read_holding_registers(10, count=20, device_id=device.unit_id)
        digits = "".join(f"{register:04x}" for register in answer.registers[8:11])
        assert int(digits) == device.meter.count(SEED, bench.look())

    await with_client(bench, "main", check)


async def test_meters_cannot_be_written_and_know_no_other_registers() -> None:
    async def check(modbus: AsyncModbusTcpClient) -> None:
        assert (await modbus.write_register(72, 1, device_id=1)).isError()
        assert (await modbus.read_input_registers(40_000, count=2, device_id=1)).isError()
        assert await read(modbus, 1, MAPS["eastron_sdm630"][0]) > 0

    await with_client(Bench(), "main", check)


async def test_a_taken_port_is_an_error_with_a_remedy() -> None:
    bench = Bench()
    async with AsyncExitStack() as stack:
        await serve_gateways(stack, "127.0.0.1", bench.ports, SEED, bench.look)
        with pytest.raises(SimulatorError, match=f"cannot listen on 127.0.0.1:{bench.ports[0]}; choose a free port"):
            await serve_gateways(stack, "127.0.0.1", bench.ports, SEED, bench.look)
        with pytest.raises(SimulatorError, match="one port each is needed for main"):
            await serve_gateways(stack, "127.0.0.1", bench.ports[:2], SEED, bench.look)


async def test_mqtt_devices_publish_their_registers(broker_url: str, site: str) -> None:
    bench = Bench()
    devices = mqtt_devices(site)
    async with client(broker_url, f"{site}-listener") as listener, client(broker_url, f"{site}-devices") as publisher:
        await listener.subscribe(f"plant/{site}/#")
        publishing = asyncio.create_task(publish_devices(publisher, devices, SEED, bench.look, 5.0))
        got = await asyncio.wait_for(take(listener, len(devices)), 10)
        publishing.cancel()
    for device in devices:
        body = json.loads(got[device.topic])
        total_key, rate_key = device.keys
        assert parse_instant(body["ts"]) == bench.now_ms
        assert round(body[total_key] * 10**device.meter.decimals) == device.meter.count(SEED, bench.look())
        assert body[rate_key] == pytest.approx(device.meter.per_hour(bench.look()), abs=0.06)


async def take(listener: aiomqtt.Client, number: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    async for message in listener.messages:
        assert isinstance(message.payload, bytes)
        found[str(message.topic)] = message.payload
        if len(found) == number:
            break
    return found
