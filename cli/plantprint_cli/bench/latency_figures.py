"""How late the readings of a run were shown: percentiles of all of them, of those about the hour's end, of Modbus meters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from plantprint.times import HOUR_MS, SiteClock, from_ms
from plantprint_cli.bench.common import BenchError, Conn, Json, scalar
from plantprint_cli.bench.edge_meters import COUNTS_PER_KWH, Meter
from plantprint_cli.bench.edge_plant import TIMEOUT_S
from plantprint_cli.bench.latency_plant import MODBUS_AGENT, SITE, Probe

Floats = NDArray[np.float64]

# Readings since a second before an hour's end may wait for the pass that settles it.
_HOUR_END_MS = (-1000, 5000)
# Less than any counter of the run counts between two readings, more than what digits leave out.
_DIGIT_KWH = 0.0005
_PERIOD_MS = 1000


@dataclass(frozen=True)
class Run:
    """When it began by the machine's clock; by the site's, which hour ended and what is judged: [start, end) in ms."""

    began_ms: int
    clock: SiteClock
    hour_end_ms: int
    span_ms: tuple[int, int]
    meters: int
    modbus: int

    @property
    def ahead_ms(self) -> int:
        """By how much the site's clock is ahead of the machine's."""
        return self.clock.now_ms(0)


@dataclass(frozen=True)
class Readings:
    """Stored readings of a meter in order: site time, ms, and kWh since the first that there is of it."""

    t_ms: Floats
    kwh: Floats


def figures(
    conn: Conn,
    run: Run,
    probes: Sequence[Probe],
    amounts: Mapping[str, Sequence[tuple[float, Decimal]]],
    plant_ms: Sequence[float],
) -> Json:
    """Latency of the probes' readings; those never shown count as infinitely late.

    In figures of all readings those of Modbus meters count as much as there are such meters among all.
    """
    at_ms, late_ms, is_modbus = [], [], []
    for probe in probes:
        found = _readings(conn, run, probe)
        judged = (found.t_ms >= run.span_ms[0]) & (found.t_ms < run.span_ms[1])
        at_ms.append(found.t_ms[judged])
        late_ms.append(shown_ms(amounts.get(probe.batch, ()), found.kwh[judged]) + run.ahead_ms - found.t_ms[judged])
        is_modbus.append(np.full(int(judged.sum()), probe.is_modbus))
    at, late, modbus = np.concatenate(at_ms), np.concatenate(late_ms), np.concatenate(is_modbus)
    share = np.where(modbus, run.modbus / max(modbus.sum(), 1), (run.meters - run.modbus) / max((~modbus).sum(), 1))
    at_hour_end = (at >= run.hour_end_ms + _HOUR_END_MS[0]) & (at < run.hour_end_ms + _HOUR_END_MS[1])
    every_ms = np.diff(np.array(plant_ms))
    return {
        "p50_ms": _percentile(late, 50, share), "p99_ms": _percentile(late, 99, share), "max_ms": _percentile(late, 100),
        "p99_ms_around_hour_end": _percentile(late[at_hour_end], 99, share[at_hour_end]),
        "p99_ms_elsewhere": _percentile(late[~at_hour_end], 99, share[~at_hour_end]),
        "hour_settled_after_ms": _settled_after_ms(conn, run),
        "judged": len(late), "never_shown": int(np.isinf(late).sum()),
        "modbus": {
            "meters": run.modbus, "p50_ms": _percentile(late[modbus], 50), "p99_ms": _percentile(late[modbus], 99),
            "judged": int(modbus.sum()), "polls_missed": _polls_missed(conn, run),
        },
        "picture_every_ms_p50": _percentile(every_ms, 50), "picture_every_ms_p99": _percentile(every_ms, 99),
    }  # fmt: skip


def shown_ms(told: Sequence[tuple[float, Decimal]], kwh: Floats) -> Floats:
    """When the first figure that contains each amount came; infinite where none did.

    Amounts never shrink while nothing is corrected.
    """
    figure = np.array([float(amount) for _, amount in told])
    wall_ms = np.array([*(ms for ms, _ in told), np.inf])
    reached = np.maximum.accumulate(figure) if len(figure) else figure
    first: Floats = wall_ms[np.searchsorted(reached, kwh - _DIGIT_KWH)]
    return first


def _readings(conn: Conn, run: Run, probe: Probe) -> Readings:
    rows = conn.execute(
        "select extract(epoch from measured_at)::float8 * 1000, value, decimals from reading join channel using (channel_id)"
        " where site = %s and agent = %s and name = %s order by measured_at",
        (SITE, probe.agent, probe.channel),
    ).fetchall()
    t_ms, value, decimals = np.array(rows, np.float64).reshape(-1, 3).T
    kwh = value / 10**decimals
    if probe.is_modbus:
        _check_counted(run, probe, t_ms, kwh)
    return Readings(t_ms, kwh - kwh[:1])


def _check_counted(run: Run, probe: Probe, t_ms: Floats, kwh: Floats) -> None:
    """What was read of a Modbus meter is what it had counted while it was asked."""
    meter = Meter(int(probe.channel.partition(".")[0].removeprefix("m")), "")
    for at_ms, counts in zip(t_ms - run.ahead_ms - run.began_ms, kwh * COUNTS_PER_KWH, strict=True):
        low, high = meter.counts(round(at_ms - TIMEOUT_S * 1000)), meter.counts(round(at_ms) + 1)
        if at_ms > 0 and not low - 1 < counts < high + 1:
            raise BenchError(f"{probe.channel}: read {counts:.1f}, the meter showed {low} to {high}")


def _polls_missed(conn: Conn, run: Run) -> int:
    """Of all Modbus meters: readings a period and a half or more apart lack some between them."""
    count = scalar(
        conn,
        "select coalesce(sum(round(extract(epoch from gap) * 1000 / %(period)s) - 1), 0)::int from ("
        " select measured_at - lag(measured_at) over (partition by channel_id order by measured_at) as gap from reading"
        " join channel using (channel_id) where site = %(site)s and agent = %(agent)s and kind = 'counter'"
        " and measured_at between %(low)s and %(high)s) as gaps where gap >= %(period)s * 1.5 * interval '1 ms'",
        {
            "period": _PERIOD_MS, "site": SITE, "agent": MODBUS_AGENT,
            "low": from_ms(run.span_ms[0]), "high": from_ms(run.span_ms[1]),
        },
    )  # fmt: skip
    return int(count)


def _settled_after_ms(conn: Conn, run: Run) -> int:
    """From the hour's end to when its postings were written, before their commit."""
    known_ms = scalar(
        conn,
        "select extract(epoch from min(known_at))::float8 * 1000 from accounted_hour where site = %s and hour_at = %s",
        (SITE, from_ms(run.hour_end_ms - HOUR_MS)),
    )
    return round(float(known_ms) + run.ahead_ms - run.hour_end_ms)


def _percentile(values: Floats, percent: int, weights: Floats | None = None) -> int | None:
    """Of a list that may hold infinities; None for one of them, or without values."""
    if not len(values):
        return None
    value = float(np.percentile(values, percent, method="inverted_cdf", weights=weights))
    return None if np.isinf(value) else round(value)
