"""The parts of an all-in-one run and the order they start and stop in."""

import dataclasses
import json
import threading
from collections.abc import Mapping
from pathlib import Path

from plantprint_cli import setup
from plantprint_cli.embedded import (
    HEALTH_INTERVAL_S,
    Child,
    Command,
    EmbeddedBroker,
    EmbeddedPostgres,
    Instance,
    Part,
    RestartPolicy,
    Supervisor,
)
from plantprint_cli.parts import Collector, OneShot, Page, plantprint
from plantprint_simulators.plants import plant_file, render_agent_config

_GATEWAYS = ("main", "line-1", "line-2", "line-3")
_EDGE_STOP_S = 8.0
_CLOCK_TOUCH_S = 2.0


class AllInOne:
    """Everything that `plantprint run` starts: simulator → edge → broker → collector → database → API."""

    def __init__(self, instance: Instance, *, port: int, speed: int, environment: Mapping[str, str]) -> None:
        self._instance = instance
        self._port = port
        self._environment = dict(environment)
        self.notes: list[str] = []
        self._database = None if "PLANTPRINT_DATABASE_URL" in environment else EmbeddedPostgres(instance)
        self._broker = None if "PLANTPRINT_MQTT_URL" in environment else EmbeddedBroker(instance)
        self.dsn = environment.get("PLANTPRINT_DATABASE_URL") or self._dsn()
        self.mqtt_url = environment.get("PLANTPRINT_MQTT_URL") or self._mqtt_url()
        if self._broker is not None:
            self.notes.append("embedded broker: for trials only, no access control; every local process is trusted")
        self._clock_file = instance.run_dir / "clock.json"
        self._clock = setup.next_clock(self._clock_file, speed)
        setup.write_clock(self._clock_file, self._clock)
        self._touching = threading.Event()
        threading.Thread(target=self._touch_clock, name="clock record", daemon=True).start()

    def supervisor(self) -> Supervisor:
        """Parts in their start order; they stop so that each can still hand over what it holds."""
        parts: list[Part] = []
        if self._database is not None:
            parts.append(Part(self._database, ready_timeout_s=600, stop_timeout_s=60))
        if self._broker is not None:
            parts.append(Part(self._broker, health_interval_s=HEALTH_INTERVAL_S))
        parts += [
            Part(OneShot("setup", lambda: self._plantprint("setup-site", str(plant_file("dyehouse"))), self._instance.log("setup")),
                 ready_timeout_s=120, restart=RestartPolicy(mode="on_failure", restarts_max=3)),
            Part(Collector(self._env(), self._instance), stop_timeout_s=20),
            Part(Page(self._plantprint("serve", "--port", str(self._port)), self._instance, f"http://127.0.0.1:{self._port}")),
            Part(self._child("simulator", lambda: self._plantprint("simulate"))),
            Part(self._child("edge", self._edge), stop_timeout_s=_EDGE_STOP_S),
        ]  # fmt: skip
        names = {part.child.name for part in parts}
        order = [n for n in ("simulator", "edge", "setup", "collector", "api", "broker", "postgres") if n in names]
        return Supervisor(self._instance, parts, stop_order=order)

    def close(self) -> None:
        self._touching.set()

    def _child(self, name: str, command: object) -> Child:
        return Child(name, command, self._instance.log(name))  # type: ignore[arg-type]  # a callable that makes a Command

    def _edge(self) -> Command:
        config = self._instance.run_dir / "agent.yaml"
        ports = [self._instance.port(f"modbus-{name}") for name in _GATEWAYS]
        outbox = self._instance.path / "edge" / "outbox.db"
        outbox.parent.mkdir(mode=0o700, exist_ok=True)
        text = render_agent_config("dyehouse", ports, self.mqtt_url, self.mqtt_url, outbox)
        config.write_text(text, encoding="utf-8")
        return self._plantprint("edge", "--config", str(config))

    def _plantprint(self, *arguments: str) -> Command:
        return plantprint(self._env(), *arguments)

    def _env(self) -> dict[str, str]:
        ports = [self._instance.port(f"modbus-{name}") for name in _GATEWAYS]
        return {
            **self._environment,
            "PLANTPRINT_DATABASE_URL": self.dsn,
            "PLANTPRINT_MQTT_URL": self.mqtt_url,
            "PLANTPRINT_CLOCK": json.dumps(dataclasses.asdict(self._clock)),
            "PLANTPRINT_MODBUS_PORTS": json.dumps(ports),
            "PLANTPRINT_PLANT_STATE": str(self._instance.path / "dyehouse-state.json"),
        }

    def _dsn(self) -> str:
        assert self._database is not None
        return self._database.dsn

    def _mqtt_url(self) -> str:
        assert self._broker is not None
        return self._broker.url

    def _touch_clock(self) -> None:
        """So that a later run knows how far this one's clock came, kill -9 included."""
        while not self._touching.wait(_CLOCK_TOUCH_S):
            Path(self._clock_file).touch()
