"""The plant of `bench late`: its model, its batches and its history of readings, of which some come late."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plantprint.facts import Channel, EventKind, ProductionEvent, Quality
from plantprint.times import HOUR_MS, SiteClock, format_instant, parse_instant
from plantprint.wire import chunk
from plantprint_cli import setup
from plantprint_cli.bench.common import Conn, Json, Servers, scalar
from plantprint_collector import store
from plantprint_collector.channels import ChannelTables
from plantprint_collector.inbox import Table
from plantprint_collector.readings import ReadingWriter

EventBody = dict[str, str | int | float | None]
Count = Any
"""A minute of the history, or many as an array; and what a counter shows then."""

SITE, AGENT = "bench", "gw"
FACTOR = "cn.grid.2023.zhejiang"
BATCH_MIN = 150
_START_MS = parse_instant("2026-03-02T00:00:00Z")
_MINUTE_MS = 60_000
_PIECE_MIN = 6 * 60  # of history in one transaction
_STAGGER_MIN = 3
_OUTAGE_BEFORE_END_H = 16
_EXCHANGE_BEFORE_END_H = 12
_CHARGE_BEFORE_END_H = 20
CHARGED, DRAWN = "charged", "drawn"


# Each ran for an hour, one after the other on each line, and ended before the readings begin; five make a batch.
_JOBS_BEFORE = """
insert into production_event (site, source, event_id, revision, kind, at, body)
select %(site)s, 'bench', j.n || '.' || e.kind, 0, e.kind,
    timestamptz 'epoch' + (%(start)s / 1000 - (j.n / %(lines)s + 2 - e.behind) * 3600) * interval '1 s',
    case e.kind when 'job_end' then jsonb_build_object('job', 'J' || j.n)
    else jsonb_build_object('job', 'J' || j.n, 'batch', 'old-' || j.n / 5, 'work_unit', 'u' || j.n %% %(lines)s) end
from generate_series(0, %(jobs)s - 1) as j(n), (values ('job_start', 0), ('job_end', 1)) as e(kind, behind)
"""


@dataclass(frozen=True)
class Size:
    """`meters` per line; the history is whole hours long, and `jobs` of other batches ran before it."""

    lines: int
    meters: int
    hours: int
    jobs: int = 0

    @property
    def minutes(self) -> int:
        return self.hours * 60

    @property
    def exchange_min(self) -> int:
        """When the first meter of the first line was exchanged."""
        return self.minutes - _EXCHANGE_BEFORE_END_H * 60

    @property
    def charge_min(self) -> int:
        """When the battery of the first line begins to be charged; what its charge meter says from then on is late."""
        return self.minutes - _CHARGE_BEFORE_END_H * 60

    @property
    def boundary(self) -> int:
        """The number of the batches that end in the outage."""
        return (self.minutes - _OUTAGE_BEFORE_END_H * 60) // BATCH_MIN


def count_at(meter: int, minute: Count) -> Count:
    """What a counter shows, in hundredths of a kWh; it never runs evenly, so that a missing reading shows."""
    return 1000 + 20 * minute + minute * (meter + 3) % 7


class Plant:
    """The plant of one size, its history in the database, and what happens to it."""

    def __init__(self, conn: Conn, servers: Servers, size: Size) -> None:
        self.conn = conn
        self.servers = servers
        self.size = size
        self.late_minute = size.boundary * BATCH_MIN - 2 * BATCH_MIN
        self.meters = size.lines * size.meters
        names = [*(_channel(meter) for meter in range(self.meters)), "exchanged.energy", CHARGED, DRAWN]
        self.channels = [Channel(AGENT, name, "kWh", 2, "counter") for name in names]
        self.table = chunk.encode_table(self.channels)
        self.epoch, self.seq = secrets.token_hex(8), 0
        self.readings = 0

    # ---- history

    def prepare(self, dsn: str, told: Callable[[float], object]) -> None:
        """Model, batches and readings, without what comes late; tells how many hours it has written."""
        self.apply_model(dsn, exchanged=False)
        for event in self._events():
            store.insert_event(self.conn, SITE, event)
        self.conn.execute(
            _JOBS_BEFORE, {"site": SITE, "jobs": self.size.jobs, "lines": self.size.lines, "start": _START_MS}
        )
        table = Table(chunk.table_hash(self.table), tuple(self.channels))
        ids = ChannelTables().declare(self.conn, SITE, AGENT, table)
        writer = ReadingWriter(staged_s=0)
        for first in range(0, self.size.minutes + 1, _PIECE_MIN):
            rows = self._history(first, min(first + _PIECE_MIN, self.size.minutes + 1))
            rows[:, 0] = ids[rows[:, 0]]
            writer.ensure_days(self.conn, set(np.unique(rows[:, 1] // (24 * HOUR_MS)).tolist()))
            with self.conn.transaction():
                self.readings += writer.write(self.conn, [rows]).rows
            told(min(first + _PIECE_MIN, self.size.minutes) / 60)

    def settled_hours(self) -> int:
        """How many hours of the history have been accounted."""
        return int(scalar(self.conn, "select count(*) from accounted_hour where site = %s", (SITE,)))

    def settled(self) -> bool:
        """Everything known is worked in but the last hour, for which the exchanged meter is waited for."""
        newest = scalar(self.conn, "select max(hour_at) from accounted_hour where site = %s", (SITE,))
        waiting = scalar(self.conn, "select exists (select from dirty where site = %s)", (SITE,))
        shown = scalar(self.conn, "select count(*) from batch where site = %s", (SITE,))
        end_ms = _START_MS + (self.size.hours - 2) * HOUR_MS
        return bool(newest is not None and not waiting and shown and newest.timestamp() * 1000 >= end_ms)

    def _history(self, first: int, last: int) -> NDArray[np.int64]:
        """Rows (channel index, t_ms, value, quality, revision) of minutes [first, last)."""
        minute = np.arange(first, last)
        parts = []
        for meter in range(self.meters):
            known = ~self.in_outage(minute)
            if meter == 0:
                known &= (minute <= self.size.exchange_min) & (minute != self.late_minute)
            parts.append(_rows(meter, minute[known], count_at(meter, minute[known])))
        after = minute[minute >= self.size.exchange_min]
        parts.append(_rows(self.meters, after, self._exchanged_at(after)))
        known = minute < self.size.charge_min
        parts.append(_rows(self.meters + 1, minute[known], self.charged_at(minute[known])))
        parts.append(_rows(self.meters + 2, minute, self.drawn_at(minute)))
        return np.concatenate(parts)

    def _exchanged_at(self, minute: Count) -> Count:
        """The new device counts from another register and as much as the old one would have."""
        return 5 + count_at(0, minute) - count_at(0, self.size.exchange_min)

    def charged_at(self, minute: Count) -> Count:
        """What went into the store, in hundredths of a kWh: all of it in one hour, and enough for all that comes out."""
        return 1000 + np.clip(minute - self.size.charge_min, 0, 60) * self.size.minutes

    def drawn_at(self, minute: Count) -> Count:
        """What came out of the store, from the hour after the charge on."""
        since = np.maximum(minute - self.size.charge_min - 60, 0)
        return 1000 + 15 * since + since * 5 % 7

    def in_outage(self, minute: NDArray[np.int64]) -> NDArray[np.bool_]:
        end = self.size.boundary * BATCH_MIN
        return (end - 20 <= minute) & (minute < end + 40)

    def _events(self) -> Iterator[ProductionEvent]:
        for line in range(self.size.lines):
            for number in range(self.size.minutes // BATCH_MIN):
                start, end = self._span(line, number)
                job = f"{line}-{number}"
                body: EventBody = {"job": job, "batch": batch_name(line, number), "work_unit": f"u{line}"}
                yield _event(f"{job}-start", "job_start", start, body)
                yield _event(f"{job}-end", "job_end", end, {"job": job})

    def _span(self, line: int, number: int) -> tuple[int, int]:
        start = number * BATCH_MIN + line * _STAGGER_MIN
        return start, min(start + BATCH_MIN, self.size.minutes)

    def kwh(self, line: int, number: int) -> Decimal:
        """What the batch really used."""
        return self.kwh_until(line, number, self._span(line, number)[1])

    def kwh_until(self, line: int, number: int, end: int) -> Decimal:
        """What it would have used, had it ended at a minute."""
        start, _ = self._span(line, number)
        meters = range(line * self.size.meters, (line + 1) * self.size.meters)
        return Decimal(sum(count_at(m, end) - count_at(m, start) for m in meters)) / 100

    def stored_kwh(self, number: int) -> Decimal:
        """What a batch of the first line really got out of the store."""
        start, end = self._span(0, number)
        return Decimal(int(self.drawn_at(end) - self.drawn_at(start))) / 100

    def apply_model(self, dsn: str, *, exchanged: bool) -> None:
        file = self.servers.instance.path / "bench-plant.yaml"
        file.write_text(json.dumps(self._model(exchanged=exchanged)), encoding="utf-8")
        if not exchanged:
            setup.prepare(dsn, file, SiteClock("data"))
        else:
            with self.conn.transaction():
                setup.apply_model_file(self.conn, file, at_ms(self.size.exchange_min))

    def _model(self, *, exchanged: bool) -> Json:
        lines = range(self.size.lines)
        meters = []
        for number in range(self.meters):
            bindings: list[Json] = [{"channel": f"{AGENT}/{_channel(number)}"}]
            if exchanged and number == 0:
                at = format_instant(at_ms(self.size.exchange_min))
                bindings = [{**bindings[0], "valid_to": at}, {"channel": f"{AGENT}/exchanged.energy", "valid_from": at}]
            meters.append({"id": f"m{number}", "name": {"en": f"m{number}"}, "unit": "kWh", "bindings": bindings})
        for name in (CHARGED, DRAWN):
            bindings = [{"channel": f"{AGENT}/{name}"}]
            meters.append({"id": name, "name": {"en": name}, "unit": "kWh", "bindings": bindings})
        per = self.size.meters
        flows = [
            {"from": "grid", "to": f"u{n}", "amount": " + ".join(f"m{m}" for m in range(n * per, n * per + per))}
            for n in lines
        ]
        flows += [
            {"from": "night", "to": "battery", "amount": CHARGED},
            {"from": "battery", "to": "u0", "amount": DRAWN},
        ]
        centers = [
            {
                "id": f"line-{n}",
                "name": {"en": f"Line {n}"},
                "work_units": [{"id": f"u{n}", "name": {"en": f"Unit {n}"}}],
            }
            for n in lines
        ]
        sources = [
            {"id": name, "name": {"en": name}, "unit": "kWh", "kind": "grid", "factor": FACTOR, "scope": 2}
            for name in ("grid", "night")
        ]
        battery = {"id": "battery", "name": {"en": "Battery"}, "unit": "kWh"}
        return {"plantprint": 1, "site": {"id": SITE, "name": {"en": "Bench"}}, "bucket_s": 60, "work_centers": centers,
                "sources": sources, "stores": [battery], "meters": meters, "flows": flows}  # fmt: skip


def _rows(channel: int, minutes: NDArray[np.int64], values: Count) -> NDArray[np.int64]:
    found = np.zeros((len(minutes), 5), np.int64)
    found[:, 0], found[:, 1], found[:, 2], found[:, 3] = (
        channel,
        _START_MS + minutes * _MINUTE_MS,
        values,
        Quality.MEASURED,
    )
    return found


def at_ms(minute: int) -> int:
    return _START_MS + minute * _MINUTE_MS


def _channel(meter: int) -> str:
    return f"m{meter}.energy"


def batch_name(line: int, number: int) -> str:
    return f"B-{line}-{number}"


def _event(event_id: str, kind: EventKind, minute: int, body: EventBody) -> ProductionEvent:
    return ProductionEvent("bench", event_id, 0, kind, at_ms(minute), body)
