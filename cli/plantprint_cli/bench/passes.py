"""What passes of the accountant cost in processor time, in a process of their own, which company changes little."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from psycopg import IsolationLevel

from plantprint.facts import Channel
from plantprint.times import HOUR_MS, SiteClock
from plantprint_cli.bench import history
from plantprint_cli.bench.common import BenchError, Json, Servers, cpu_s, fresh_database, scalar
from plantprint_collector import store
from plantprint_collector.accountant_config import AccountantSettings
from plantprint_collector.connection import connect
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.site_accountant import SiteAccountant

_HOUR_END_MS = 1_764_547_200_000 + HOUR_MS
_PASSES_A_SECOND = 4
_FIRST_PASSES = 12  # with facts to load and meters that are new
_TIMEOUT_S = 120.0


def measure(servers: Servers, site: str, plant: Json, channels: Sequence[Channel], seconds: int) -> Json:
    """Passes every 250 ms of a site's time while each of its meters, counters in hundredths of a kWh, is read once a second.

    An hour, before read once a minute, ends before the last second and is settled; that pass is told apart.
    """
    start_ms = _HOUR_END_MS - (seconds - 2) * 1000
    with (
        fresh_database(servers.postgres.dsn) as dsn,
        closing(connect(dsn, application="bench", timeout_s=_TIMEOUT_S)) as conn,
        closing(connect(dsn, application="bench accountant", timeout_s=_TIMEOUT_S)) as work,
    ):
        work.isolation_level = IsolationLevel.REPEATABLE_READ
        store.ensure_site(conn, site)
        store.set_clock(conn, site, SiteClock("run", wall_origin_ms=0, site_origin_ms=start_ms))
        store.apply_plant_model(conn, site, "bench", plant, None)
        writer, ids = ReadingWriter(staged_s=1), history.write_hour(conn, site, channels, _HOUR_END_MS)
        accountant = SiteAccountant(site, AccountantSettings(), lambda *_: True)
        used: list[tuple[float, float]] = []
        settled: list[tuple[float, float]] = []
        for wall_ms, readings in _readings(ids, start_ms, seconds):
            with conn.transaction():
                writer.write(conn, [readings])
            before, database_s = time.process_time(), cpu_s(work.info.backend_pid)
            accountant.run_pass(work, wall_ms)
            spent = time.process_time() - before, cpu_s(work.info.backend_pid) - database_s
            is_settled = scalar(conn, "select count(*) from accounted_hour") > len(settled)
            (settled if is_settled else used).append(spent)
    if not settled:
        raise BenchError("passes: the hour was not settled")
    accountant_ms, database_ms = 1000 * np.array(used[_FIRST_PASSES:]).T
    return {
        "settling_cpu_ms": round(1000 * sum(accountant for accountant, _ in settled), 1),
        "settling_cpu_ms_database": round(1000 * sum(database for _, database in settled), 1),
        "pass_cpu_ms_p50": round(float(np.median(accountant_ms)), 1),
        "pass_cpu_ms_p95": round(float(np.percentile(accountant_ms, 95)), 1),
        "pass_cpu_ms_database": round(float(database_ms.mean()), 1),
    }


def _readings(ids: NDArray[np.int64], start_ms: int, seconds: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Per pass its instant and the readings since the last: a quarter of the meters."""
    number = np.arange(len(ids))
    for tick in range(seconds * _PASSES_A_SECOND):
        wall_ms = tick * 1000 // _PASSES_A_SECOND
        due = number[number % _PASSES_A_SECOND == tick % _PASSES_A_SECOND]
        value = 1000 + (tick // _PASSES_A_SECOND + 1) * (1 + due % 97)
        alike = np.ones(len(due), np.int64)
        yield wall_ms, np.stack([ids[due], alike * (start_ms + wall_ms), value, 3 * alike, 0 * alike], axis=1)
