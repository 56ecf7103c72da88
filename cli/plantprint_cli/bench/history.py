"""An hour behind a measurement: channels and a reading a minute, written as the collector writes them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Channel
from plantprint.times import HOUR_MS, MINUTE_MS
from plantprint_cli.bench.common import Conn
from plantprint_collector.readings import ReadingWriter
from plantprint_collector.rows import DAY_MS

# They end below 1000, from where the counters of the measurements go on; a register that shows 0 is looked at closely.
_FIRST_COUNTS, _COUNTS_A_MINUTE = 20, 16
QUIET_S = 90


def declare(conn: Conn, site: str, channels: Sequence[Channel]) -> NDArray[np.int64]:
    """The ids of channels that no agent has declared yet."""
    with conn.cursor() as cursor:
        cursor.executemany(
            "insert into channel (site, agent, name, unit, decimals, kind, period_s) values (%s, %s, %s, %s, %s, %s, %s)"
            " returning channel_id",
            [(site, c.agent, c.name, c.unit, c.decimals, c.kind, c.period_s) for c in channels],
            returning=True,
        )
        return np.array([result.fetchall()[0][0] for result in cursor.results()], np.int64)


def write_hour(conn: Conn, site: str, channels: Sequence[Channel], end_ms: int) -> NDArray[np.int64]:
    """Declares counters of kWh and writes a reading a minute of each until `QUIET_S` before the hour ends; their ids.

    So the hour is as long in memory as any that ends, whatever a measurement adds to it.
    """
    ids = declare(conn, site, channels)
    # Hundredths of a kWh, in whatever a channel counts.
    scale = np.array([10 ** (channel.decimals - 2) for channel in channels], np.int64)
    writer, alike = ReadingWriter(staged_s=1), np.ones(len(ids), np.int64)
    writer.ensure_days(conn, {(end_ms - HOUR_MS) // DAY_MS, end_ms // DAY_MS})
    # One at the very start would belong to the hour before too.
    for minute, at_ms in enumerate(range(end_ms - HOUR_MS + MINUTE_MS // 2, end_ms - QUIET_S * 1000 + 1, MINUTE_MS)):
        counts = _FIRST_COUNTS + minute * _COUNTS_A_MINUTE
        with conn.transaction():
            writer.write(conn, [np.stack([ids, alike * at_ms, scale * counts, 3 * alike, 0 * alike], axis=1)])
    # A collector that starts reads the open hour whole: its marks would say nothing new, for half a minute of passes.
    conn.execute("delete from dirty where site = %s", (site,))
    return ids
