"""The plant's meters behind Modbus TCP gateways: every read is answered with the physics of that very instant."""

import functools
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from plantprint_simulators.errors import SimulatorError
from plantprint_simulators.meters import GATEWAYS, MODBUS_DEVICES, ModbusDevice
from plantprint_simulators.physics import Total
from plantprint_simulators.registers import IMAGES, Image

Look = Callable[[], Total]


async def _refresh(
    image: Callable[[], Image],
    _function: int,
    start_address: int,
    _address: int,
    _count: int,
    registers: list[int],
    set_values: Sequence[int] | Sequence[bool] | None,
) -> ExcCodes | None:
    if set_values is not None:
        return ExcCodes.ILLEGAL_FUNCTION
    for address, values in image().items():
        offset = address - start_address
        registers[offset : offset + len(values)] = values
    return None


def _sim_device(device: ModbusDevice, seed: int, look: Look) -> SimDevice:
    def image() -> Image:
        total = look()
        return IMAGES[device.model](device.meter, device.meter.count(seed, total), total)

    addresses = image()
    first = min(addresses)
    last = max(address + len(values) for address, values in addresses.items())
    block = SimData(first, count=last - first, values=0, datatype=DataType.REGISTERS, readonly=True)
    return SimDevice(device.unit_id, simdata=[block], action=functools.partial(_refresh, image))


async def serve_gateways(stack: AsyncExitStack, host: str, ports: Sequence[int], seed: int, look: Look) -> None:
    """Starts one server per gateway, closed with the stack; raises `SimulatorError` when a port cannot be had."""
    if len(ports) != len(GATEWAYS):
        raise SimulatorError(f"modbus_ports: one port each is needed for {', '.join(GATEWAYS)}, not {len(ports)} ports")
    for gateway, port in zip(GATEWAYS, ports, strict=True):
        devices = [_sim_device(device, seed, look) for device in MODBUS_DEVICES if device.gateway == gateway]
        server = ModbusTcpServer(devices, address=(host, port))
        try:
            await server.serve_forever(background=True)
        except RuntimeError as error:
            raise SimulatorError(f"gateway {gateway}: cannot listen on {host}:{port}; choose a free port") from error
        stack.push_async_callback(server.shutdown)
