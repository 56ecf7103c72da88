"""What tests of MQTT devices need: a router from the text of a source, at an instant of one's own, and rows to read."""

import json
from pathlib import Path
from typing import Any, cast

from edge_support import config

from plantprint.times import SiteClock
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config import MqttSource
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.mqtt_routes import Router

NOON_MS = 1_764_072_000_000  # 2025-11-25T12:00:00Z
GOLDEN = {m["name"]: m for m in json.loads((Path(__file__).parent / "data/sparkplug/golden.json").read_text("utf-8"))}


class StoppedClock(Clock):
    """A clock that shows what the test sets."""

    def __init__(self, t_ms: int = NOON_MS, site: SiteClock | None = None) -> None:
        super().__init__(site or SiteClock())
        self.t_ms = t_ms

    def now_ms(self) -> int:
        return self.t_ms


class Desk(Router):
    """A router whose first channel is number 0, with its counts and its clock in reach."""

    def __init__(self, source: MqttSource) -> None:
        self.counts = SourceCounts(source.name, "mqtt")
        self.clock = StoppedClock()
        super().__init__(source, 0, self.counts, self.clock)

    def take(self, topic: str, payload: Any, *, retained: bool = False) -> list[Row]:
        """The rows of a message; what is neither text nor bytes is sent as JSON."""
        body = payload if isinstance(payload, bytes) else payload if isinstance(payload, str) else json.dumps(payload)
        return self.read(topic, body.encode() if isinstance(body, str) else body, retained=retained)

    def golden(self, *names: str) -> list[Row]:
        """The rows of recorded Sparkplug messages, one after the other."""
        return [row for name in names for row in self.take(GOLDEN[name]["topic"], bytes.fromhex(GOLDEN[name]["hex"]))]


def mqtt_source(folder: Path, text: str) -> MqttSource:
    """An MQTT source; `text` are its keys besides `source` and `name`, indented by four."""
    return cast("MqttSource", config(folder, f"\n  - source: mqtt\n    name: shop{text}").sources[0])


def desk(folder: Path, text: str) -> Desk:
    return Desk(mqtt_source(folder, text))


def mapped(folder: Path, mapping: str, channels: str, keys: str = "", source: str = "") -> Desk:
    """A router of one entry of `devices`; `channels` in flow style, one a line, without kind counter, kWh, 3 decimals."""
    given = ("kind", "unit", "decimals")
    usual = {"kind": "counter", "unit": "kWh", "decimals": "3"}
    lines = [
        line.strip() + "".join(f", {key}: {usual[key]}" for key in given if f" {key}:" not in line)
        for line in channels.strip().splitlines()
    ]
    listed = "".join(f"\n          - {{{line}}}" for line in lines)
    return desk(folder, f"{source}\n    devices:\n      - mapping: {mapping}{keys}\n        channels:{listed}\n")
