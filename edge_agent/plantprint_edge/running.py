"""The readers of a running agent, each a task: started, stopped, and exchanged one by one while the others go on."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from plantprint_edge.channels import channels_of
from plantprint_edge.chunker import Chunker, Port
from plantprint_edge.config import AgentConfig, Source
from plantprint_edge.config.polled import PolledSource
from plantprint_edge.sources import Reader, SourceCounts
from plantprint_edge.sources.polling import Poller

MakeReader = Callable[[Source, Port, AgentConfig], Reader]


@dataclass(frozen=True, slots=True)
class Running:
    """A source at work; `task` ends by itself only where there is nothing more to read."""

    source: Source
    reader: Reader
    port: Port
    task: asyncio.Task[None]


class Readers:
    """All sources at work; `make` builds the reader of one."""

    def __init__(self, group: asyncio.TaskGroup, chunker: Chunker, make: MakeReader) -> None:
        self._group = group
        self._chunker = chunker
        self._make = make
        self._running: dict[str, Running] = {}

    def start(self, config: AgentConfig) -> None:
        """Start what is not at work yet, tell the others their new places, and keep the order of `config`."""
        running: dict[str, Running] = {}
        first, phases = 0, phases_s(config)
        for source in config.sources:
            one = self._running.get(source.name)
            if one is None:
                one = self._begin(source, first, phases.get(source.name, 0.0), config)
            running[source.name] = one
            one.port.first = first
            first += len(channels_of(source, config.agent))
        self._running = running

    def _begin(self, source: Source, first: int, phase_s: float, config: AgentConfig) -> Running:
        port = self._chunker.port(first)
        reader = self._make(source, port, config)
        if isinstance(reader, Poller):
            reader.phase_s = phase_s
        return Running(source, reader, port, self._group.create_task(reader.run(), name=source.name))

    async def stop(self, names: Iterable[str]) -> None:
        """End these sources, and return when nothing more will come from them."""
        ended = [self._running[name] for name in names]
        await end_tasks([one.task for one in ended])
        for one in ended:
            del self._running[one.source.name]

    async def stop_all(self) -> None:
        """End all; their counts stay."""
        await end_tasks([one.task for one in self._running.values()])

    def of(self, kind: type[Reader]) -> list[Running]:
        """Those at work whose reader is of this kind."""
        return [one for one in self._running.values() if isinstance(one.reader, kind)]

    @property
    def counts(self) -> Sequence[SourceCounts]:
        """What each counted since it began, in the order of `agent.yaml`."""
        return [one.reader.counts for one in self._running.values()]


def phases_s(config: AgentConfig) -> dict[str, float]:
    """How far into its interval each device is polled: thousands that began at once would end too late for the next."""
    polled = [source for source in config.sources if isinstance(source, PolledSource)]
    spacing_s = config.poll_spacing_ms / 1000
    return {source.name: i * min(spacing_s, source.interval_s / len(polled)) for i, source in enumerate(polled)}


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended.

    Once may not be enough: up to Python 3.11 `asyncio.wait_for`, which libraries use, swallows a cancellation that comes
    in the same moment as its result.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)
