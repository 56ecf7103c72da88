"""`bench late`: how long until every affected batch shows its new number, and what that rewrites, at two lengths of history.

A plant of lines whose meters are read once a minute; every line makes a batch of two and a half hours after the other.
What is late goes the real way: chunk, broker, intake, accounting; the number is asked of the API until it is exact.
A late charge of a store is not measured: stores do not take events yet.
"""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from plantprint.factors import builtin_factors
from plantprint.facts import Channel, ProductionEvent, Quality
from plantprint.times import HOUR_MS, SiteClock, format_instant, parse_instant
from plantprint.wire import chunk, topics
from plantprint_cli import setup
from plantprint_cli.bench.backlog import connected, publish
from plantprint_cli.bench.common import BenchError, Conn, Json, Servers, fresh_database, scalar, wait_until
from plantprint_cli.parts import Collector, Page, plantprint
from plantprint_collector import store
from plantprint_collector.channels import ChannelTables
from plantprint_collector.connection import connect
from plantprint_collector.inbox import Table
from plantprint_collector.readings import ReadingWriter

SITE, AGENT = "bench", "gw"
_FACTOR = "cn.grid.2023.zhejiang"
_START_MS = parse_instant("2026-03-02T00:00:00Z")
_MINUTE_MS = 60_000
_BATCH_MIN = 150
_STAGGER_MIN = 3
_CHUNK_ROWS = 500
_SETTLE_S = 300.0
_SHOWN_S = 60.0
_OUTAGE_BEFORE_END_H = 16
_EXCHANGE_BEFORE_END_H = 12


@dataclass(frozen=True)
class Size:
    """`meters` per line; the history is whole hours long."""

    lines: int
    meters: int
    hours: int

    @property
    def minutes(self) -> int:
        return self.hours * 60

    @property
    def exchange_min(self) -> int:
        """When the first meter of the first line was exchanged."""
        return self.minutes - _EXCHANGE_BEFORE_END_H * 60

    @property
    def boundary(self) -> int:
        """The number of the batches that end in the outage."""
        return (self.minutes - _OUTAGE_BEFORE_END_H * 60) // _BATCH_MIN


def run(servers: Servers, *, full: bool, size: Size | None = None) -> Json:
    """Every case with a history and with ten times as much; times in milliseconds."""
    short = size or (Size(10, 50, 25) if full else Size(4, 10, 25))
    results = []
    for hours in (short.hours, short.hours * 10):
        results.append(_measure(servers, Size(short.lines, short.meters, hours)))
    return {"meters": short.lines * short.meters, "not_measured": "a late charge of a store", "results": results}


def count_at(meter: int, minute: int) -> int:
    """What a counter shows, in hundredths of a kWh; it never runs evenly, so that a missing reading shows."""
    return 1000 + 20 * minute + minute * (meter + 3) % 7


def _measure(servers: Servers, size: Size) -> Json:
    with fresh_database(servers.postgres.dsn) as dsn, connect(dsn, application="bench", timeout_s=600) as conn:
        plant = Plant(conn, servers, size)
        plant.prepare(dsn)
        env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=f"bench-late-{secrets.token_hex(4)}")
        port = servers.instance.port("api")
        page = Page(plantprint(env, "serve", "--port", str(port)), servers.instance, f"http://127.0.0.1:{port}")
        began_s = time.monotonic()
        with Collector(env, servers.instance), page:
            wait_until("the history is accounted", plant.settled, _SETTLE_S, poll_s=0.1)
            first_s = time.monotonic() - began_s
            shown = Shown(conn, port)
            cases = {
                "one_late_reading": plant.one_late_reading(shown),
                "an_hours_outage": plant.outage(shown),
                "factor_change": plant.factor_change(shown),
                "meter_exchange": plant.exchange(shown, dsn),
            }
    return {"history_hours": size.hours, "readings": plant.readings, "first_accounting_s": round(first_s, 2), **cases}


class Shown:
    """Watches figures over the API, and what a change costs in the ledger."""

    def __init__(self, conn: Conn, port: int) -> None:
        self._conn = conn
        self._url = f"http://127.0.0.1:{port}/v1/batches"

    def footprint(self, batch: str) -> Json:
        """The batch as the API shows it; empty while it does not know it."""
        try:
            with urlopen(f"{self._url}/{batch}/footprint?site={SITE}", timeout=10) as answer:  # noqa: S310 - loopback
                found: Json = json.load(answer)
        except HTTPError:
            return {}
        return found

    def amount(self, batch: str) -> Decimal | None:
        """Grid electricity in the batch, kWh."""
        lines = self.footprint(batch).get("by_source", [])
        return next((Decimal(line["amount"]) for line in lines if line["source"] == "grid"), None)

    @contextmanager
    def cost(self, batches: int) -> Iterator[Json]:
        """Fills in what the block took and wrote."""
        postings = scalar(self._conn, "select coalesce(max(posting_id), 0) from posting")
        begun = scalar(self._conn, "select clock_timestamp()")
        result: Json = {"batches": batches}
        began_s = time.monotonic()
        yield result
        result["ms"] = round((time.monotonic() - began_s) * 1000)
        result["postings_added"] = scalar(self._conn, "select count(*) from posting where posting_id > %s", (postings,))
        written = "select count(*) from accounted_hour where known_at > %s"
        result["hours_accounted_again"] = scalar(self._conn, written, (begun,))

    def wait(self, what: str, wanted: dict[str, Decimal]) -> None:
        """Until each of the batches shows exactly its amount."""
        for batch, kwh in wanted.items():
            try:
                wait_until(what, lambda batch=batch, kwh=kwh: self.amount(batch) == kwh, _SHOWN_S)  # type: ignore[misc]
            except BenchError as error:
                raise BenchError(f"{error}: batch {batch} shows {self.amount(batch)} instead of {kwh} kWh") from error


class Plant:
    """The plant of one size, its history in the database, and what happens to it."""

    def __init__(self, conn: Conn, servers: Servers, size: Size) -> None:
        self._conn = conn
        self._servers = servers
        self._size = size
        self._late_minute = size.boundary * _BATCH_MIN - 2 * _BATCH_MIN
        self._channels = [Channel(AGENT, _channel(m), "kWh", 2, "counter") for m in range(size.lines * size.meters)]
        self._channels.append(Channel(AGENT, "exchanged.energy", "kWh", 2, "counter"))
        self._table = chunk.encode_table(self._channels)
        self._epoch, self._seq = secrets.token_hex(8), 0
        self.readings = 0

    # ---- history

    def prepare(self, dsn: str) -> None:
        """Model, batches and readings, without what comes late."""
        self._apply_model(dsn, exchanged=False)
        for event in self._events():
            store.insert_event(self._conn, SITE, event)
        table = Table(chunk.table_hash(self._table), tuple(self._channels))
        ids = ChannelTables().declare(self._conn, SITE, AGENT, table)
        writer = ReadingWriter(staged_s=0)
        for first in range(0, self._size.minutes + 1, 24 * 60):
            rows = self._history(first, min(first + 24 * 60, self._size.minutes + 1))
            rows[:, 0] = ids[rows[:, 0]]
            writer.ensure_days(self._conn, set(np.unique(rows[:, 1] // (24 * HOUR_MS)).tolist()))
            with self._conn.transaction():
                self.readings += writer.write(self._conn, [rows]).rows

    def settled(self) -> bool:
        """Everything known is worked in but the last hour, for which the exchanged meter is waited for."""
        newest = scalar(self._conn, "select max(hour_at) from accounted_hour where site = %s", (SITE,))
        waiting = scalar(self._conn, "select exists (select from dirty where site = %s)", (SITE,))
        shown = scalar(self._conn, "select count(*) from batch where site = %s", (SITE,))
        end_ms = _START_MS + (self._size.hours - 2) * HOUR_MS
        return bool(newest is not None and not waiting and shown and newest.timestamp() * 1000 >= end_ms)

    def _history(self, first: int, last: int) -> NDArray[np.int64]:
        """Rows (channel index, t_ms, value, quality, revision) of minutes [first, last)."""
        minute = np.arange(first, last)
        parts = []
        for meter in range(len(self._channels) - 1):
            known = np.array([not self._is_late(meter, int(m)) for m in minute])
            if meter == 0:
                known &= minute <= self._size.exchange_min
            parts.append(_rows(meter, minute[known], [count_at(meter, int(m)) for m in minute[known]]))
        after = minute[minute >= self._size.exchange_min]
        parts.append(_rows(len(self._channels) - 1, after, [self._exchanged_at(int(m)) for m in after]))
        return np.concatenate(parts)

    def _exchanged_at(self, minute: int) -> int:
        """The new device counts from another register and as much as the old one would have."""
        return 5 + count_at(0, minute) - count_at(0, self._size.exchange_min)

    def _is_late(self, meter: int, minute: int) -> bool:
        return self._in_outage(minute) or (meter == 0 and minute == self._late_minute)

    def _in_outage(self, minute: int) -> bool:
        end = self._size.boundary * _BATCH_MIN
        return end - 20 <= minute < end + 40

    def _events(self) -> Iterator[ProductionEvent]:
        for line in range(self._size.lines):
            for number in range(self._size.minutes // _BATCH_MIN):
                start, end = self._span(line, number)
                job = f"{line}-{number}"
                body = {"job": job, "batch": _batch(line, number), "work_unit": f"u{line}"}
                yield _event(f"{job}-start", "job_start", start, body)
                yield _event(f"{job}-end", "job_end", end, {"job": job})

    def _span(self, line: int, number: int) -> tuple[int, int]:
        start = number * _BATCH_MIN + line * _STAGGER_MIN
        return start, min(start + _BATCH_MIN, self._size.minutes)

    def _kwh(self, line: int, number: int) -> Decimal:
        """What the batch really used."""
        start, end = self._span(line, number)
        meters = range(line * self._size.meters, (line + 1) * self._size.meters)
        return Decimal(sum(count_at(m, end) - count_at(m, start) for m in meters)) / 100

    def _apply_model(self, dsn: str, *, exchanged: bool) -> None:
        file = self._servers.instance.path / "bench-plant.yaml"
        file.write_text(json.dumps(self._model(exchanged=exchanged)), encoding="utf-8")
        if not exchanged:
            setup.prepare(dsn, file, SiteClock("data"))
        else:
            with self._conn.transaction():
                setup.apply_model_file(self._conn, file, _at_ms(self._size.exchange_min))

    def _model(self, *, exchanged: bool) -> Json:
        lines = range(self._size.lines)
        meters = []
        for number in range(self._size.lines * self._size.meters):
            bindings: list[Json] = [{"channel": f"{AGENT}/{_channel(number)}"}]
            if exchanged and number == 0:
                at = format_instant(_at_ms(self._size.exchange_min))
                bindings = [{**bindings[0], "valid_to": at}, {"channel": f"{AGENT}/exchanged.energy", "valid_from": at}]
            meters.append({"id": f"m{number}", "name": {"en": f"m{number}"}, "unit": "kWh", "bindings": bindings})
        per = self._size.meters
        flows = [
            {"from": "grid", "to": f"u{n}", "amount": " + ".join(f"m{m}" for m in range(n * per, n * per + per))}
            for n in lines
        ]
        centers = [
            {
                "id": f"line-{n}",
                "name": {"en": f"Line {n}"},
                "work_units": [{"id": f"u{n}", "name": {"en": f"Unit {n}"}}],
            }
            for n in lines
        ]
        grid = {"id": "grid", "name": {"en": "Grid"}, "unit": "kWh", "kind": "grid", "factor": _FACTOR, "scope": 2}
        return {"plantprint": 1, "site": {"id": SITE, "name": {"en": "Bench"}}, "bucket_s": 60, "work_centers": centers,
                "sources": [grid], "meters": meters, "flows": flows}  # fmt: skip

    # ---- what happens

    def one_late_reading(self, shown: Shown) -> Json:
        """It lies where one batch ends and the next begins, so both change."""
        number = self._late_minute // _BATCH_MIN
        wanted = {_batch(0, n): self._kwh(0, n) for n in (number - 1, number)}
        with shown.cost(len(wanted)) as cost:
            self._send([(0, _at_ms(self._late_minute), count_at(0, self._late_minute), int(Quality.MEASURED))])
            shown.wait("one late reading", wanted)
        return cost

    def outage(self, shown: Shown) -> Json:
        """All meters say afterwards what they counted in the hour around the end of a batch."""
        minutes = [m for m in range(self._size.minutes) if self._in_outage(m)]
        late = [
            (meter, _at_ms(minute), count_at(meter, minute), int(Quality.MEASURED))
            for minute in minutes
            for meter in range(len(self._channels) - 1)
        ]
        numbers = (self._size.boundary - 1, self._size.boundary)
        wanted = {_batch(line, n): self._kwh(line, n) for line in range(self._size.lines) for n in numbers}
        with shown.cost(len(wanted)) as cost:
            self._send(late)
            shown.wait("an hour's outage", wanted)
        return cost | {"late_readings": len(late)}

    def factor_change(self, shown: Shown) -> Json:
        """A new version of the grid's factor; every batch that ever was has another emission at once."""
        batches = [_batch(line, 0) for line in range(self._size.lines)]
        before = {batch: shown.footprint(batch)["partial_footprint_kg_co2e"] for batch in batches}
        factor = next(f for f in builtin_factors() if f.factor_id == _FACTOR)
        body = {**factor.to_json(), "value": "0.6", "version": factor.version + 1}
        with shown.cost(self._size.lines * (self._size.minutes // _BATCH_MIN)) as cost:
            store.load_factors(self._conn, [(_FACTOR, body)])
            for batch, old in before.items():
                wait_until(
                    "a factor's change",
                    lambda batch=batch, old=old: shown.footprint(batch)["partial_footprint_kg_co2e"] != old,  # type: ignore[misc]
                    _SHOWN_S,
                )
        return cost

    def exchange(self, shown: Shown, dsn: str) -> Json:
        """A model version says afterwards which device a meter has been since the exchange."""
        # Batches wholly after it, but the last, which ends in an hour that is not settled.
        numbers = range(self._size.exchange_min // _BATCH_MIN + 1, self._size.minutes // _BATCH_MIN - 1)
        wanted = {_batch(0, n): self._kwh(0, n) for n in numbers}
        with shown.cost(len(wanted)) as cost:
            self._apply_model(dsn, exchanged=True)
            shown.wait("a meter's exchange", wanted)
        return cost

    def _send(self, rows: Sequence[chunk.Row]) -> None:
        hash_ = chunk.table_hash(self._table)
        with connected(self._servers.broker.url, "bench-late", 0) as client:
            for begin in range(0, len(rows), _CHUNK_ROWS):
                piece = rows[begin : begin + _CHUNK_ROWS]
                header, payload = chunk.seal(
                    SITE, AGENT, self._epoch, self._seq, "readings", chunk.encode_rows(piece), len(piece), table=hash_
                )
                self._seq += 1
                publish(client, topics.up(SITE, AGENT, "fill"), payload, chunk.properties(header)).wait_for_publish(30)


def _rows(channel: int, minutes: NDArray[np.int64], values: Sequence[int]) -> NDArray[np.int64]:
    found = np.zeros((len(minutes), 5), np.int64)
    found[:, 0], found[:, 1], found[:, 2], found[:, 3] = (
        channel,
        _START_MS + minutes * _MINUTE_MS,
        values,
        Quality.MEASURED,
    )
    return found


def _at_ms(minute: int) -> int:
    return _START_MS + minute * _MINUTE_MS


def _channel(meter: int) -> str:
    return f"m{meter}.energy"


def _batch(line: int, number: int) -> str:
    return f"B-{line}-{number}"


def _event(event_id: str, kind: str, minute: int, body: dict[str, str | int | float | None]) -> ProductionEvent:
    return ProductionEvent("bench", event_id, 0, kind, _at_ms(minute), body)  # type: ignore[arg-type]  # one of the kinds
