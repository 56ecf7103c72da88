"""Meters of the open hours that tell what stores hold: levels at the ends of hours, kept up reading by reading."""

from collections.abc import Collection, Mapping

from plantprint.account import Carry
from plantprint.facts import Issue
from plantprint.plant.graph import PlantGraph
from plantprint.stores import Level, read_level
from plantprint_collector.facts_store import Conn, MeterSource
from plantprint_collector.open_meter import OpenMeter
from plantprint_collector.spans import Ints, by_channel, of_channels, readings_since


class OpenLevels:
    """Level meters since `start_ms`."""

    def __init__(
        self, conn: Conn, graph: PlantGraph, sources: Mapping[str, MeterSource], start_ms: int, carry: Carry
    ) -> None:
        self._graph = graph
        self._start_ms = start_ms
        self._sources = {meter: sources[meter] for meter in graph.levels if meter in sources}
        self._meters: dict[str, OpenMeter] = {}
        self.follow(conn, carry, self._sources.keys())

    @property
    def meters(self) -> set[str]:
        return set(self._sources)

    def at(self, hour_ms: int) -> tuple[dict[str, Level], list[Issue]]:
        """Levels of stores at an hour's end, as far as meters tell them."""
        levels: dict[str, Level] = {}
        issues: list[Issue] = []
        for meter, known in self._meters.items():
            store = self._graph.levels[meter]
            level = read_level(known.series(hour_ms), self._graph.stores[store], hour_ms)
            if isinstance(level, Issue):
                issues.append(level)
            elif level is not None:
                levels[store] = level
        return levels, issues

    def take(self, conn: Conn, found: Ints, carry: Carry) -> bool:
        """Takes readings, as `spans` gives them; whether any is of a level."""
        taken, strange = False, set[str]()
        for meter, known in self._meters.items():
            for channel_id, readings in by_channel(of_channels(found, known.source.multipliers)):
                taken = True
                if not known.add(channel_id, readings):
                    strange.add(meter)
        self.follow(conn, carry, strange)
        return taken

    def follow(self, conn: Conn, carry: Carry, meters: Collection[str]) -> None:
        """Loads those of the meters that are here anew from what is stored; the start begins with `carry`."""
        for meter in self._sources.keys() & meters:
            source = self._sources[meter]
            known = OpenMeter(source, self._start_ms, self._graph.plant.bucket_s, carry.meters.get(meter))
            for channel_id, readings in by_channel(readings_since(conn, source.multipliers, self._start_ms)):
                known.add(channel_id, readings)
            self._meters[meter] = known

    def begin_at(self, hour_ms: int, carry: Carry) -> None:
        """Forgets everything before an hour that begins with `carry`."""
        self._start_ms = hour_ms
        for meter, known in self._meters.items():
            known.begin_at(hour_ms, carry.meters.get(meter))
