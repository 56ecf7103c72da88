"""`plantprint replay`: a recorded plant through the real path (edge, broker, collector, accounting) in an instance of its own."""

import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import psycopg

from plantprint.times import SiteClock, from_ms
from plantprint_cli import setup
from plantprint_cli.embedded import Child, EmbeddedBroker, EmbeddedPostgres, Instance, temporary_instance
from plantprint_cli.errors import CommandError
from plantprint_cli.parts import Collector, plantprint
from plantprint_cli.replay_result import replay_result, settled_through
from plantprint_simulators.plants import RecordedName, plant_file, recorded_file, render_recorded_config

_POLL_S = 0.2
_PROCESSING_S_MAX = 3600.0

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Replay:
    """What to replay, from which file, how fast, and in which instance (None: a new one that is removed afterwards)."""

    name: RecordedName
    data: Path | None = None
    speed: float | Literal["max"] = "max"
    instance: Path | None = None


def replay(what: Replay, progress: Progress, environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Runs the replay to its end and returns the result; raises `CommandError` with the agent's own words when it fails."""
    file = find_file(what)
    with ExitStack() as stack:
        if what.instance is None:
            instance = stack.enter_context(temporary_instance())
        else:
            instance = stack.enter_context(Instance.open(what.instance))
        dsn = environment.get("PLANTPRINT_DATABASE_URL") or stack.enter_context(EmbeddedPostgres(instance)).dsn
        mqtt_url = environment.get("PLANTPRINT_MQTT_URL") or stack.enter_context(EmbeddedBroker(instance)).url
        site = setup.prepare(dsn, plant_file(what.name), SiteClock("data"))
        agent = _agent_config(what, file, instance, mqtt_url)
        env = {**environment, "PLANTPRINT_DATABASE_URL": dsn, "PLANTPRINT_MQTT_URL": mqtt_url}
        env["PLANTPRINT_CLOCK"] = json.dumps(dataclasses.asdict(SiteClock("data")))
        collector = stack.enter_context(Collector(env, instance))
        edge = stack.enter_context(Child("edge", plantprint(env, "edge", "--config", str(agent)), instance.log("edge")))
        with psycopg.connect(dsn, autocommit=True) as conn:
            _wait(conn, site, edge, collector, progress)
            return replay_result(conn, site)


def find_file(what: Replay) -> Path:
    """The recorded file: the one that ships, or the file of the same name (or the only CSV) in `--data`."""
    shipped = recorded_file(what.name)
    if what.data is None:
        return shipped
    if what.data.is_file():
        return what.data
    named = [what.data / shipped.name, what.data / shipped.name.removesuffix(".gz")]
    found = next((path for path in named if path.is_file()), None)
    if found is None:
        raise CommandError(f"{what.data} holds no {shipped.name}; name the file itself or a folder that holds it")
    return found


def _agent_config(what: Replay, file: Path, instance: Instance, mqtt_url: str) -> Path:
    outbox = instance.path / "edge" / "outbox.db"
    outbox.parent.mkdir(mode=0o700, exist_ok=True)
    config = instance.run_dir / "agent.yaml"
    config.write_text(
        render_recorded_config(what.name, mqtt_url, outbox, speed=what.speed, file=file), encoding="utf-8"
    )
    return config


def _wait(conn: psycopg.Connection[Any], site: str, edge: Child, collector: Child, progress: Progress) -> None:
    """Until the agent has handed over everything and every hour it reached is settled."""
    deadline = time.monotonic() + _PROCESSING_S_MAX
    while time.monotonic() < deadline:
        if not collector.is_alive():
            raise CommandError(str(collector.failure("stopped")))
        if edge.exit_code not in (None, 0):
            raise CommandError(edge_words(edge))
        done, newest = settled_through(conn, site)
        progress(done, newest)
        if edge.exit_code == 0 and newest and done >= newest:
            return
        time.sleep(_POLL_S)
    raise CommandError(f"not finished within {_PROCESSING_S_MAX:.0f} s; the instance keeps what was done, run it again")


def edge_words(edge: Child) -> str:
    """The last error that the agent logged: it names the file, the line and the remedy."""
    lines = edge.log.tail(50, 0).splitlines() if edge.log else []
    for line in reversed(lines):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("level") in ("error", "critical"):
            return " ".join(str(event[key]) for key in ("reason", "error", "remedy") if event.get(key)) or str(
                event["event"]
            )
    return str(edge.failure(f"ended with code {edge.exit_code}"))


def day(t_ms: int) -> str:
    return from_ms(t_ms).date().isoformat() if t_ms else "…"
