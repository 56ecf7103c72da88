"""What the store looks like to those who run the collector: ages, backlog and what was set aside, as metrics.

A thread with a connection of its own looks every `metrics_every_s`, so that a slow or lost database delays no scrape.
While the last look failed only `plantprint_store_up` is told: an old age or backlog would look well.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import Connection

from plantprint.wire.topics import slot_of
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.limits import site_clocks, wall_age_s

log = structlog.get_logger("plantprint.collector.metrics")

Conn = Connection[tuple[Any, ...]]

_NEWEST = """
select c.site, c.agent, (extract(epoch from max(l.measured_at)) * 1000)::bigint
from latest l join channel c using (channel_id) group by 1, 2
"""
_MARKS = "select site, count(*) from dirty group by 1"
_LETTERS = "select acknowledged, count(*) from dead_letter group by 1"
_REJECTED = "select count(*) from rejected_reading"


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. Ages are in seconds of wall time; sites that live by their data have none."""

    agent_ages_s: dict[tuple[str, str], float] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    letters: dict[bool, int] = field(default_factory=dict)
    rejected: int = 0

    @property
    def lags_s(self) -> dict[str, float]:
        """Per site the age of its newest reading."""
        found: dict[str, float] = {}
        for (site, _), age_s in self.agent_ages_s.items():
            found[site] = min(age_s, found.get(site, age_s))
        return found


def look(conn: Conn, slots: str, wall_ms: int) -> Sight:
    """The store at `wall_ms`; agents of other slots are left to their collectors."""
    newest = [row for row in conn.execute(_NEWEST).fetchall() if slot_of(row[1]) in slots]
    clocks = site_clocks(conn, {site for site, _, _ in newest})
    ages_s = {(site, agent): wall_age_s(clocks[site], wall_ms, t_ms) for site, agent, t_ms in newest}
    rejected = conn.execute(_REJECTED).fetchone()
    assert rejected is not None
    known = {who: age_s for who, age_s in ages_s.items() if age_s is not None}
    return Sight(known, dict(_pairs(conn, _MARKS)), dict(_pairs(conn, _LETTERS)), int(rejected[0]))


def _pairs(conn: Conn, query: str) -> Iterable[tuple[Any, int]]:
    return ((key, int(count)) for key, count in conn.execute(query.encode()).fetchall())


class StoreWatch(Collector):
    """Looks from `start` to `stop`; at most `metrics_series_max` agents and sites are told, the stalest first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sight: Sight | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)

    @property
    def up(self) -> bool:
        """Whether the last look succeeded."""
        return self._sight is not None

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ends it; a look that hangs longer ends with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def collect(self) -> Iterator[Metric]:
        sight = self._sight
        yield GaugeMetricFamily(
            "plantprint_store_up", "1 when the last look at the database succeeded", value=sight is not None
        )
        if sight is not None:
            yield from families(sight, self._settings.metrics_series_max)

    def _run(self) -> None:
        dsn, limit_s = self._settings.database_url.get_secret_value(), self._settings.database_timeout_s
        while not self._stop.is_set():
            try:
                with connect(dsn, application="plantprint-metrics", timeout_s=limit_s) as conn:
                    while not self._stop.is_set():
                        self._sight = look(conn, self._settings.collector_slots, time.time_ns() // 1_000_000)
                        self._stop.wait(self._settings.metrics_every_s)
            except psycopg.Error as error:
                if self.up:
                    log.warning("store_not_seen", reason=str(error).strip(), remedy="waits and looks again")
                self._sight = None
                self._stop.wait(self._settings.metrics_every_s)


def families(sight: Sight, series_max: int) -> Iterator[Metric]:
    """The gauges of one look, at most `series_max` series each; `plantprint_store_series_left_out` counts the rest."""
    left_out = 0

    def gauge(name: str, text: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]) -> Metric:
        nonlocal left_out
        family = GaugeMetricFamily(f"plantprint_store_{name}", text, labels=labels)
        largest_first = sorted(values, key=lambda item: item[1], reverse=True)
        for names, value in largest_first[:series_max]:
            family.add_metric(names, value)
        left_out += max(0, len(largest_first) - series_max)
        return family

    lags = (((site,), lag_s) for site, lag_s in sight.lags_s.items())
    yield gauge("lag_seconds", "age of the newest reading", ["site"], lags)
    yield gauge("agent_age_seconds", "age of an agent's newest reading", ["site", "agent"], sight.agent_ages_s.items())
    marks = (((site,), count) for site, count in sight.marks.items())
    yield gauge("dirty_marks", "marks that the accountant has not worked in", ["site"], marks)
    letters = (((name,), sight.letters.get(acknowledged, 0)) for name, acknowledged in (("yes", True), ("no", False)))
    yield gauge("dead_letters", "messages in dead_letter", ["acknowledged"], letters)
    yield gauge("rejected_readings", "readings in rejected_reading", [], [((), sight.rejected)])
    yield gauge("series_left_out", "series over metrics_series_max", [], [((), left_out)])
