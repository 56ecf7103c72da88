"""What one pass of the accountant costs in processor time, in a process of its own, which company changes little."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from psycopg import IsolationLevel

from plantprint.times import HOUR_MS, SiteClock
from plantprint_cli.bench.common import Conn, Json, Servers, cpu_s, fresh_database
from plantprint_collector import store
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.connection import connect
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.rows import DAY_MS
from plantprint_collector.site_accountant import SiteAccountant

_START_MS = 1_764_547_200_000 + HOUR_MS // 2
_PASSES_A_SECOND = 4
_FIRST_PASSES = 12  # with facts to load and meters that are new
_TIMEOUT_S = 120.0


def measure(servers: Servers, site: str, plant: Json, channels: Sequence[tuple[str, str]], seconds: int) -> Json:
    """Passes every 250 ms of a site's time while each of its meters, counters in hundredths of a kWh, is read once a second."""
    with (
        fresh_database(servers.postgres.dsn) as dsn,
        closing(connect(dsn, application="bench", timeout_s=_TIMEOUT_S)) as conn,
        closing(connect(dsn, application="bench accountant", timeout_s=_TIMEOUT_S)) as work,
    ):
        work.isolation_level = IsolationLevel.REPEATABLE_READ
        store.ensure_site(conn, site)
        store.set_clock(conn, site, SiteClock("run", wall_origin_ms=0, site_origin_ms=_START_MS))
        store.apply_plant_model(conn, site, "bench", plant, None)
        writer, ids = ReadingWriter(staged_s=1), _declare(conn, site, channels)
        writer.ensure_days(conn, {_START_MS // DAY_MS})
        accountant = SiteAccountant(site, AccountantSettings(), lambda *_: True)
        used: list[tuple[float, float]] = []
        for wall_ms, readings in _readings(ids, seconds):
            with conn.transaction():
                writer.write(conn, [readings])
            before, database_s = time.process_time(), cpu_s(work.info.backend_pid)
            accountant.run_pass(work, wall_ms)
            used.append((time.process_time() - before, cpu_s(work.info.backend_pid) - database_s))
    accountant_ms, database_ms = 1000 * np.array(used[_FIRST_PASSES:]).T
    return {
        "pass_cpu_ms_p50": round(float(np.median(accountant_ms)), 1),
        "pass_cpu_ms_p95": round(float(np.percentile(accountant_ms, 95)), 1),
        "pass_cpu_ms_database": round(float(database_ms.mean()), 1),
    }


def _declare(conn: Conn, site: str, channels: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
    ids = []
    for agent, name in channels:
        row = conn.execute(
            "insert into channel (site, agent, name, unit, decimals, kind, period_s) values (%s, %s, %s, 'kWh', 2, 'counter', 0) "
            "returning channel_id",
            (site, agent, name),
        ).fetchone()
        assert row is not None
        ids.append(row[0])
    return np.array(ids, np.int64)


def _readings(ids: NDArray[np.int64], seconds: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Per pass its instant and the readings since the last: a quarter of the meters."""
    number = np.arange(len(ids))
    for tick in range(seconds * _PASSES_A_SECOND):
        wall_ms = tick * 1000 // _PASSES_A_SECOND
        due = number[number % _PASSES_A_SECOND == tick % _PASSES_A_SECOND]
        value = 1000 + (tick // _PASSES_A_SECOND + 1) * (1 + due % 97)
        alike = np.ones(len(due), np.int64)
        yield wall_ms, np.stack([ids[due], alike * (_START_MS + wall_ms), value, 3 * alike, 0 * alike], axis=1)
