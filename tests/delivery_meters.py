"""The meters of the delivery test: every value they ever emit is known by a formula that shares nothing with the product.

They publish to a broker of their own that is never killed. It keeps each message until the edge says that it is on its
disk, so all that was emitted must reach the store, whatever dies on the way.
"""

import threading
import time
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint.times import HOUR_MS, SiteClock, parse_instant

DEVICES, PER_DEVICE = 4, 20
CHANNELS = DEVICES * PER_DEVICE
SAMPLE_MS = 40
READINGS_PER_S = CHANNELS * 1000 // SAMPLE_MS
# A site hour in six seconds: hours settle, and are corrected by what comes late, while the storm rages.
SPEED = 600
STEP_MS = SAMPLE_MS * SPEED
STEPS_PER_HOUR = HOUR_MS // STEP_MS
# The run crosses midnight, where the store begins another partition.
ORIGIN_MS = parse_instant("2026-03-01T21:00:00Z")
DECIMALS = 3
_REFUSED = 0x80
_UNHEARD = 0x10


def channel_name(channel: int) -> str:
    return f"m{channel:02}.energy"


def value_of(channel: int, step: int) -> int:
    """A counter's value in Wh: it always grows, unevenly, and no two channels and steps share one."""
    return (channel + 1) * 10**10 + step * (1000 + 7 * channel) + step * step * 31 % 900


def instant_of(step: int) -> int:
    return ORIGIN_MS + step * STEP_MS


def topic_of(site: str, device: int) -> str:
    return f"{site}/device-{device}"


class Meters:
    """Emits from its own thread, on time, until `finish`; what it emitted are the steps from 0 to `last_step`."""

    def __init__(self, broker_url: str, site: str, starts_in_s: float) -> None:
        self.clock = SiteClock("run", time.time_ns() // 1_000_000 + int(starts_in_s * 1000), ORIGIN_MS, SPEED)
        self.last_step = -1
        self.problems: list[str] = []
        self._site = site
        self._finish_after: int | None = None
        self._confirmed = 0
        self._thread = threading.Thread(target=self._emit, name="meters", daemon=True)
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, f"meters-{site}", protocol=paho.MQTTv5)
        client.max_inflight_messages_set(1000)
        client.on_publish = self._on_publish
        client.on_disconnect = lambda *_: self.problems.append("lost the connection to the meters' broker")
        url = urlsplit(broker_url)
        assert url.hostname is not None
        client.connect(url.hostname, url.port or 1883)
        client.loop_start()

    def start(self) -> None:
        """Only once the edge has subscribed for the first time: before that its broker has nobody to keep a message for."""
        self._thread.start()

    def finish(self, timeout_s: float = 30.0) -> None:
        """Emits once more at least, to the end of the site's hour, and waits until the broker has confirmed all."""
        self._finish_after = self.last_step
        self._thread.join(timeout_s)
        deadline_s = time.monotonic() + timeout_s
        while self._confirmed < DEVICES * (self.last_step + 1) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        problems = list(self.problems)
        self._client.disconnect()
        self._client.loop_stop()
        assert self._confirmed == DEVICES * (self.last_step + 1), "the meters' broker did not confirm everything"
        assert not problems, problems

    @property
    def emitted(self) -> dict[tuple[str, int], int]:
        """(channel, instant in ms) → value, of everything that was emitted."""
        steps = range(self.last_step + 1)
        return {(channel_name(c), instant_of(s)): value_of(c, s) for s in steps for c in range(CHANNELS)}

    def consumption_by_hour(self) -> dict[int, int]:
        """Hour → what all meters together counted in it, in millionths of a kWh; hours begin and end with a reading."""
        hours = range(0, self.last_step, STEPS_PER_HOUR)
        return {
            instant_of(start): 1000
            * sum(value_of(c, start + STEPS_PER_HOUR) - value_of(c, start) for c in range(CHANNELS))
            for start in hours
        }

    def _emit(self) -> None:
        for step in count():
            time.sleep(max(0.0, (self.clock.wall_origin_ms + step * SAMPLE_MS) / 1000 - time.time()))
            for device in range(DEVICES):
                values = (value_of(device * PER_DEVICE + i, step) for i in range(PER_DEVICE))
                text = ",".join(f"{v // 10**DECIMALS}.{v % 10**DECIMALS:0{DECIMALS}}" for v in values)
                payload = f'{{"at":{instant_of(step)},"kwh":[{text}]}}'
                self._client.publish(topic_of(self._site, device), payload, qos=1)
            self.last_step = step
            if self._finish_after is not None and step > self._finish_after + 1 and step % STEPS_PER_HOUR == 0:
                return

    def _on_publish(self, _client: paho.Client, _data: Any, _mid: int, code: Any, _properties: Any) -> None:
        self._confirmed += 1
        if code.value >= _REFUSED or code.value == _UNHEARD:
            self.problems.append(f"the meters' broker says: {code}")


def agent_yaml(site: str, meters_url: str, mqtt_url: str) -> str:
    """An agent that reads the meters, with pauses short enough for a fault every second."""
    topics = "\n".join(
        f"      - topic: {topic_of(site, device)}\n        time: at\n        time_format: ms\n        channels:\n"
        + "\n".join(
            f"          - {{name: {channel_name(device * PER_DEVICE + i)}, value: kwh.{i}, kind: counter, unit: kWh,"
            f" decimals: {DECIMALS}}}"
            for i in range(PER_DEVICE)
        )
        for device in range(DEVICES)
    )
    return f"""
agent: gw-1
site: {site}
broker: {{url: "{mqtt_url}"}}
outbox: {{path: outbox.db, size_mb_max: 64, ballast_mb: 8, reserve_mb: 1}}
uplink: {{backoff_s_min: 0.1, backoff_s_max: 0.5, resend_after_s: 1, resend_s_max: 2}}
chunk: {{age_ms_max: 50}}
status_every_s: 0.1
sources:
  - source: mqtt
    name: meters
    broker: {{url: "{meters_url}"}}
    backoff_s_max: 0.5
    topics:
{topics}
"""


def plant_yaml(site: str) -> str:
    """Every meter feeds a work unit of its own from the grid; an hour waits a second of the test for what is late."""
    channels = range(CHANNELS)
    units = ", ".join(f"{{id: u{c}, name: {{en: Unit {c}}}}}" for c in channels)
    meters = "\n".join(
        f"  - {{id: m{c}, name: {{en: Meter {c}}}, unit: kWh, bindings: [{{channel: gw-1/{channel_name(c)}}}]}}"
        for c in channels
    )
    flows = "\n".join(f"  - {{from: grid, to: u{c}, amount: m{c}}}" for c in channels)
    return f"""
plantprint: 1
site: {{id: {site}, name: {{en: Storm}}}}
bucket_s: 300
settle_after_s: 600
work_centers:
  - {{id: line, name: {{en: Line}}, work_units: [{units}]}}
sources:
  - {{id: grid, name: {{en: Grid}}, unit: kWh, kind: grid, factor: cn.grid.2023.zhejiang, scope: 2}}
meters:
{meters}
flows:
{flows}
"""
