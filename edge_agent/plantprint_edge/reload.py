"""Taking up a changed `agent.yaml` while running: what may change, which sources it touches, when a file has changed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plantprint.times import SiteClock
from plantprint_edge.channels import device_of
from plantprint_edge.config import AgentConfig, ModbusSource, MqttSource, Source
from plantprint_edge.config.polled import PolledSource
from plantprint_edge.yamlfile import ConfigError

# What the outbox and the way up are built on.
RESTART_KEYS = ("plantprint", "agent", "site", "outbox", "uplink", "metrics_port", "exit_when_done")

Stamp = frozenset[tuple[str, int, int]]


@dataclass(slots=True)
class ReloadCounts:
    """What became of changed configurations; `problems` are those of the last one, empty once one was taken."""

    taken: int = 0
    refused: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Where an agent's configuration can be read again; `load` raises `ConfigError`."""

    path: Path
    load: Callable[[], AgentConfig]

    def stamp(self, config: AgentConfig) -> Stamp:
        """Changes whenever `agent.yaml` or a file of its folders is changed, added or removed."""
        folders = [folder for folder in (config.meters_dir, config.mappings_dir) if folder is not None]
        paths = [self.path, *(path for folder in folders for path in folder.glob("*.yaml"))]
        return frozenset(filter(None, map(_stamp, paths)))


def _stamp(path: Path) -> tuple[str, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return str(path), state.st_mtime_ns, state.st_size


def check_clock(config: AgentConfig, clock: SiteClock) -> None:
    """Raises `ConfigError` where devices would be polled at a site that lives by its data."""
    if clock.kind == "data" and any(isinstance(source, PolledSource) for source in config.sources):
        raise ConfigError(["a site that lives by its data has no now to poll devices in"])


def check_change(before: AgentConfig, after: AgentConfig, clock: SiteClock) -> None:
    """Raises `ConfigError` that names each changed key which only a restart can change."""
    check_clock(after, clock)
    if after.exit_when_done:
        raise ConfigError(["an agent that ends when its recordings are delivered takes no new configuration"])
    changed = [key for key in RESTART_KEYS if getattr(before, key) != getattr(after, key)]
    if changed:
        keys = ", ".join(changed)
        raise ConfigError([f"{keys}: cannot be changed while running; restart the agent, or put back what was there"])


def touched_sources(before: AgentConfig, after: AgentConfig) -> list[str]:
    """The names of the running sources that have to stop: gone, or not what they were."""
    wanted = {source.name: _essence(source, after) for source in after.sources}
    return [source.name for source in before.sources if wanted.get(source.name) != _essence(source, before)]


def _essence(source: Source, config: AgentConfig) -> tuple[Any, ...]:
    """What a source is made of, with what it takes from elsewhere."""
    if isinstance(source, ModbusSource):
        return source.model_dump(), device_of(source)
    if isinstance(source, MqttSource):
        return source, source.broker or config.broker
    return (source,)
