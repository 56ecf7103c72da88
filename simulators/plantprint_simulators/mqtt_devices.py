"""Steam meters and the carbon collector: devices that publish JSON on their own topics of the plant's broker."""

import asyncio
from collections.abc import Callable, Sequence

import aiomqtt
import orjson

from plantprint.times import format_instant
from plantprint_simulators.meters import MqttDevice
from plantprint_simulators.physics import Total


def payload(device: MqttDevice, seed: int, total: Total) -> bytes:
    """`{"ts": …, "total_kg": …, "flow_kg_h": …}`: the register to its last digit and the present rate."""
    meter = device.meter
    total_key, rate_key = device.keys
    return orjson.dumps(
        {
            "ts": format_instant(total.at_ms),
            total_key: meter.count(seed, total) / 10**meter.decimals,
            rate_key: round(meter.per_hour(total), 1),
        }
    )


async def publish_devices(
    client: aiomqtt.Client, devices: Sequence[MqttDevice], seed: int, look: Callable[[], Total], every_s: float
) -> None:
    """Publishes every device's message each `every_s` seconds, until the connection is lost."""
    while True:
        total = look()
        for device in devices:
            await client.publish(device.topic, payload(device, seed, total), qos=1)
        await asyncio.sleep(every_s)
