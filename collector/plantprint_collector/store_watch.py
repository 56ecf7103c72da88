"""What the store looks like to those who run the collector: ages, backlog and what was set aside, as metrics.

A thread with a connection of its own looks every `metrics_every_s`, so that a slow or lost database delays no scrape.
While no look succeeds only `plantprint_store_up` and ages are told, which go on growing by the clock: an old age or backlog
would look well.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from psycopg import Connection

from plantprint.wire.topics import slot_of
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.limits import site_clocks, wall_age_s
from plantprint_collector.watermarks import missed_everywhere

log = structlog.get_logger("plantprint.collector.metrics")

Conn = Connection[tuple[Any, ...]]

_NEWEST = """
select c.site, c.agent, (extract(epoch from max(l.measured_at)) * 1000)::bigint
from latest l join channel c using (channel_id) group by 1, 2
"""
_MARKS = "select site, count(*) from dirty d where exists (select from plant_model m where m.site = d.site) group by 1"
_WITHOUT_MODEL = "select site from site s where not exists (select from plant_model m where m.site = s.site)"
_LETTERS = "select acknowledged, count(*) from dead_letter group by 1"
_REJECTED = "select count(*) from rejected_reading"
_STALE_S_MIN = 5.0


@dataclass(frozen=True, slots=True)
class Sight:
    """One look. Ages are in seconds of wall time; sites that live by their data have none.

    Sites without a plant model may be mistyped names that nothing comes for any more: their lag and marks are not told.
    """

    agent_ages_s: dict[tuple[str, str], float] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    letters: dict[bool, int] = field(default_factory=dict)
    rejected: int = 0
    without_model: frozenset[str] = frozenset()
    missed: dict[tuple[str, str], int] = field(default_factory=dict)

    def ages_later(self, later_s: float) -> "Sight":
        """What is known of the ages when nothing has been seen since."""
        return Sight(
            {who: age_s + later_s for who, age_s in self.agent_ages_s.items()}, without_model=self.without_model
        )

    @property
    def lags_s(self) -> dict[str, float]:
        """Per site with a plant model the age of its newest reading."""
        found: dict[str, float] = {}
        for (site, _), age_s in self.agent_ages_s.items():
            if site not in self.without_model:
                found[site] = min(age_s, found.get(site, age_s))
        return found


def look(conn: Conn, slots: str, wall_ms: int) -> Sight:
    """The store at `wall_ms`; agents of other slots are left to their collectors."""
    newest = [row for row in conn.execute(_NEWEST).fetchall() if slot_of(row[1]) in slots]
    clocks = site_clocks(conn, {site for site, _, _ in newest})
    ages_s = {(site, agent): wall_age_s(clocks.of[site], wall_ms, t_ms) for site, agent, t_ms in newest}
    rejected = conn.execute(_REJECTED).fetchone()
    assert rejected is not None
    known = {who: age_s for who, age_s in ages_s.items() if age_s is not None}
    marks, letters = dict(_pairs(conn, _MARKS)), dict(_pairs(conn, _LETTERS))
    without_model = frozenset(site for (site,) in conn.execute(_WITHOUT_MODEL).fetchall())
    missed = {who: count for who, count in missed_everywhere(conn).items() if slot_of(who[1]) in slots}
    return Sight(known, marks, letters, int(rejected[0]), without_model, missed)


def _pairs(conn: Conn, query: str) -> Iterable[tuple[Any, int]]:
    return ((key, int(count)) for key, count in conn.execute(query.encode()).fetchall())


class StoreWatch(Collector):
    """Looks from `start` to `stop`; at most `metrics_series_max` agents and sites are told, the stalest first."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sight: Sight | None = None
        self._looked_s = 0.0
        self._failed = False
        self._stale_s = max(2 * settings.metrics_every_s, _STALE_S_MIN)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="store-watch", daemon=True)

    @property
    def up(self) -> bool:
        """Whether the last look succeeded, and not long ago: a database that hangs lets none fail."""
        return self._sight is not None and not self._failed and time.monotonic() - self._looked_s < self._stale_s

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ends it; a look that hangs longer ends with the process."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def collect(self) -> Iterator[Metric]:
        sight, is_up = self._sight, self.up
        yield GaugeMetricFamily("plantprint_store_up", "1 when the last look at the database succeeded", value=is_up)
        if sight is None:
            return
        series_max = self._settings.metrics_series_max
        if is_up:
            yield from families(sight, series_max)
        else:
            yield from age_families(sight.ages_later(time.monotonic() - self._looked_s), series_max)

    def _run(self) -> None:
        dsn, limit_s = self._settings.database_url.get_secret_value(), self._settings.database_timeout_s
        while not self._stop.is_set():
            try:
                with connect(dsn, application="plantprint-metrics", timeout_s=limit_s) as conn:
                    while not self._stop.is_set():
                        began_s = time.monotonic()
                        self._sight = look(conn, self._settings.collector_slots, time.time_ns() // 1_000_000)
                        self._looked_s, self._failed = began_s, False
                        self._stop.wait(self._settings.metrics_every_s)
            except psycopg.Error as error:
                if self.up:
                    log.warning("store_not_seen", reason=str(error).strip(), remedy="waits and looks again")
                self._failed = True
                self._stop.wait(self._settings.metrics_every_s)


def families(sight: Sight, series_max: int) -> Iterator[Metric]:
    """The gauges of one look, at most `series_max` series each; `plantprint_store_series_left_out` counts the rest."""
    marks = (((site,), count) for site, count in sight.marks.items())
    letters = (((name,), sight.letters.get(acknowledged, 0)) for name, acknowledged in (("yes", True), ("no", False)))
    count = len(sight.without_model)
    yield from _bounded(
        [
            *_ages(sight),
            _Gauge("dirty_marks", "marks that the accountant has not worked in", ["site"], marks),
            _Gauge("dead_letters", "messages in dead_letter", ["acknowledged"], letters),
            _Gauge("rejected_readings", "readings in rejected_reading", [], [((), sight.rejected)]),
            _Gauge(
                "missed_chunks",
                "chunks that never came, and no record says why",
                ["site", "agent"],
                sight.missed.items(),
            ),
            _Gauge("sites_without_model", "sites that messages name and that have no plant model", [], [((), count)]),
        ],
        series_max,
    )


def age_families(sight: Sight, series_max: int) -> Iterator[Metric]:
    """Those of them that can be told without a database."""
    yield from _bounded(_ages(sight), series_max)


class _Gauge(NamedTuple):
    name: str
    text: str
    labels: Sequence[str]
    values: Iterable[tuple[Sequence[str], float]]


def _ages(sight: Sight) -> list[_Gauge]:
    lags = (((site,), lag_s) for site, lag_s in sight.lags_s.items())
    agents = sight.agent_ages_s.items()
    return [
        _Gauge("lag_seconds", "age of the newest reading", ["site"], lags),
        _Gauge("agent_age_seconds", "age of an agent's newest reading", ["site", "agent"], agents),
    ]


def _bounded(gauges: Iterable[_Gauge], series_max: int) -> Iterator[Metric]:
    left_out = 0
    for gauge in gauges:
        family = GaugeMetricFamily(f"plantprint_store_{gauge.name}", gauge.text, labels=gauge.labels)
        largest_first = sorted(gauge.values, key=lambda item: item[1], reverse=True)
        for names, value in largest_first[:series_max]:
            family.add_metric(names, value)
        left_out += max(0, len(largest_first) - series_max)
        yield family
    yield GaugeMetricFamily("plantprint_store_series_left_out", "series over metrics_series_max", value=left_out)
