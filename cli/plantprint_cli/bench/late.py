"""`bench late`: how long until every affected batch shows its new number, and what that rewrites, at two lengths of history.

A plant of lines whose meters are read once a minute; every line makes a batch of two and a half hours after the other.
What is late goes the real way: chunk, broker, intake, accounting; the number is asked of the API until it is exact.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from urllib.error import HTTPError
from urllib.request import urlopen

import numpy as np
from rich.console import Console
from rich.progress import Progress

from plantprint.factors import builtin_factors
from plantprint.facts import ProductionEvent, Quality
from plantprint.wire import chunk, topics
from plantprint_cli.bench.backlog import connected, publish
from plantprint_cli.bench.common import BenchError, Conn, Json, Servers, fresh_database, scalar, wait_until
from plantprint_cli.bench.late_plant import AGENT, BATCH_MIN, FACTOR, SITE, Plant, Size, at_ms, batch_name, count_at
from plantprint_cli.parts import Collector, Page, plantprint
from plantprint_collector import store
from plantprint_collector.connection import connect

_CHUNK_ROWS = 500
_STALLED_S = 120.0
_SHOWN_S = 60.0
_JOBS_SHORT, _JOBS_LONG = 1_000, 50_000


def run(servers: Servers, *, full: bool, size: Size | None = None) -> Json:
    """Every case with a history and with ten times as much; times in milliseconds."""
    short = size or (Size(10, 50, 25) if full else Size(4, 10, 25))
    long = replace(short, hours=short.hours * 10, jobs=_JOBS_LONG)
    results = [measure(servers, size) for size in (replace(short, jobs=_JOBS_SHORT), long)]
    return {"meters": short.lines * short.meters, "results": results}


def measure(servers: Servers, size: Size) -> Json:
    with fresh_database(servers.postgres.dsn) as dsn, connect(dsn, application="bench", timeout_s=600) as conn:
        plant = Plant(conn, servers, size)
        with progress(f"{size.hours} hours of readings", size.hours) as told:
            plant.prepare(dsn, told)
        env = servers.environment(dsn, PLANTPRINT_COLLECTOR_CLIENT_ID=f"bench-late-{secrets.token_hex(4)}")
        port = servers.instance.port("api")
        page = Page(plantprint(env, "serve", "--port", str(port)), servers.instance, f"http://127.0.0.1:{port}")
        began_s = time.monotonic()
        with Collector(env, servers.instance), page:
            with progress(f"{size.hours} hours accounted", size.hours) as told:
                _settle(plant, told)
            first_s = time.monotonic() - began_s
            shown = Shown(conn, port)
            cases = {
                "one_late_reading": one_late_reading(plant, shown),
                "an_hours_outage": outage(plant, shown),
                "factor_change": factor_change(plant, shown),
                "meter_exchange": exchange(plant, shown, dsn),
                "late_store_charge": store_charge(plant, shown),
                "production_event": production_event(plant, shown),
            }
    return {
        "history_hours": size.hours,
        "history_jobs": size.jobs,
        "readings": plant.readings,
        "first_accounting_s": round(first_s, 2),
        **cases,
    }


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

    def amount(self, batch: str, source: str = "grid") -> Decimal | None:
        """Electricity in the batch, kWh."""
        lines = self.footprint(batch).get("by_source", [])
        return next((Decimal(line["amount"]) for line in lines if line["source"] == source), None)

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

    def wait(self, what: str, wanted: dict[str, Decimal], source: str = "grid") -> None:
        """Until each of the batches shows exactly its amount."""
        for batch, kwh in wanted.items():
            try:
                wait_until(what, lambda batch=batch, kwh=kwh: self.amount(batch, source) == kwh, _SHOWN_S)  # type: ignore[misc]
            except BenchError as error:
                raise BenchError(
                    f"{error}: batch {batch} shows {self.amount(batch, source)} instead of {kwh} kWh"
                ) from error


def one_late_reading(plant: Plant, shown: Shown) -> Json:
    """It lies where one batch ends and the next begins, so both change."""
    number = plant.late_minute // BATCH_MIN
    wanted = {batch_name(0, n): plant.kwh(0, n) for n in (number - 1, number)}
    with shown.cost(len(wanted)) as cost:
        _send(plant, [(0, at_ms(plant.late_minute), count_at(0, plant.late_minute), int(Quality.MEASURED))])
        shown.wait("one late reading", wanted)
    return cost


def outage(plant: Plant, shown: Shown) -> Json:
    """All meters say afterwards what they counted in the hour around the end of a batch."""
    every = np.arange(plant.size.minutes)
    minutes = every[plant.in_outage(every)].tolist()
    late = [
        (meter, at_ms(minute), count_at(meter, minute), int(Quality.MEASURED))
        for minute in minutes
        for meter in range(plant.meters)
    ]
    numbers = (plant.size.boundary - 1, plant.size.boundary)
    wanted = {batch_name(line, n): plant.kwh(line, n) for line in range(plant.size.lines) for n in numbers}
    with shown.cost(len(wanted)) as cost:
        _send(plant, late)
        shown.wait("an hour's outage", wanted)
    return cost | {"late_readings": len(late)}


def factor_change(plant: Plant, shown: Shown) -> Json:
    """A new version of the grid's factor; every batch that ever was has another emission at once."""
    batches = [batch_name(line, 0) for line in range(plant.size.lines)]
    before = {batch: shown.footprint(batch)["partial_footprint_kg_co2e"] for batch in batches}
    factor = next(f for f in builtin_factors() if f.factor_id == FACTOR)
    body = {**factor.to_json(), "value": "0.6", "version": factor.version + 1}
    with shown.cost(plant.size.lines * (plant.size.minutes // BATCH_MIN)) as cost:
        store.load_factors(plant.conn, [(FACTOR, body)])
        for batch, old in before.items():
            wait_until(
                "a factor's change",
                lambda batch=batch, old=old: shown.footprint(batch)["partial_footprint_kg_co2e"] != old,  # type: ignore[misc]
                _SHOWN_S,
            )
    return cost


def exchange(plant: Plant, shown: Shown, dsn: str) -> Json:
    """A model version says afterwards which device a meter has been since the exchange."""
    # Batches wholly after it, but the last, which ends in an hour that is not settled.
    numbers = range(plant.size.exchange_min // BATCH_MIN + 1, plant.size.minutes // BATCH_MIN - 1)
    wanted = {batch_name(0, n): plant.kwh(0, n) for n in numbers}
    with shown.cost(len(wanted)) as cost:
        plant.apply_model(dsn, exchanged=True)
        shown.wait("a meter's exchange", wanted)
    return cost


def store_charge(plant: Plant, shown: Shown) -> Json:
    """What a battery was charged with is told 20 h later; everything that came out of it since gets its source."""
    size = plant.size
    minutes = range(size.charge_min, size.minutes + 1)
    late = [(plant.meters + 1, at_ms(m), int(plant.charged_at(m)), int(Quality.MEASURED)) for m in minutes]
    # Batches wholly after the charge, but the last, which ends in an hour that is not settled.
    numbers = range(size.charge_min // BATCH_MIN + 1, size.minutes // BATCH_MIN - 1)
    wanted = {batch_name(0, n): plant.stored_kwh(n) for n in numbers}
    with shown.cost(len(wanted)) as cost:
        _send(plant, late)
        shown.wait("a late charge of a store", wanted, "night")
    return cost | {"late_readings": len(late)}


def production_event(plant: Plant, shown: Shown) -> Json:
    """A job turns out to have ended earlier than was told."""
    number, early_min = plant.size.boundary - 3, 10
    end_min = (number + 1) * BATCH_MIN - early_min
    wanted = {batch_name(0, number): plant.kwh_until(0, number, end_min)}
    with shown.cost(len(wanted)) as cost:
        event = ProductionEvent("bench", f"0-{number}-end", 1, "job_end", at_ms(end_min), {"job": f"0-{number}"})
        store.insert_event(plant.conn, SITE, event)
        shown.wait("a production event", wanted)
    return cost


def _settle(plant: Plant, told: Callable[[float], object]) -> None:
    """Waits for the history; as long as hours come, however slow the machine is."""
    done, since_s = -1, time.monotonic()
    while not plant.settled():
        now_done = plant.settled_hours()
        if now_done > done:
            done, since_s = now_done, time.monotonic()
            told(done)
        if time.monotonic() - since_s > _STALLED_S:
            raise BenchError(
                f"the history is accounted to hour {done} of {plant.size.hours}, then not for {_STALLED_S:.0f} s"
            )
        time.sleep(0.1)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[float], object]]:
    """A bar on stderr where that is a terminal; yields what takes how much is done."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _send(plant: Plant, rows: Sequence[chunk.Row]) -> None:
    hash_ = chunk.table_hash(plant.table)
    with connected(plant.servers.broker.url, "bench-late", 0) as client:
        for begin in range(0, len(rows), _CHUNK_ROWS):
            piece = rows[begin : begin + _CHUNK_ROWS]
            header, payload = chunk.seal(
                SITE, AGENT, plant.epoch, plant.seq, "readings", chunk.encode_rows(piece), len(piece), table=hash_
            )
            plant.seq += 1
            publish(client, topics.up(SITE, AGENT, "fill"), payload, chunk.properties(header)).wait_for_publish(30)
