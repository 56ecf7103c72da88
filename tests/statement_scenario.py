"""Some hours of a small mill, with all that the collector and the api ask of a database: recorded for the next release.

`PYTHONPATH=tests python -m statement_scenario` records the present program into `tests/contract/golden_sql`, under the number of
its last migration. docs/storage.md says when.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fixtures_api
import servers
from accounting_cases import HOUR
from ledger_rig import CHANNELS, SITE, Rig, mill, steady
from statement_record import Recorder, save

from plantprint.facts import Reading
from plantprint.wire import chunk as wire
from plantprint.wire import messages, topics
from plantprint_cli.embedded import temporary_instance
from plantprint_collector import deadletter, housekeeping, store
from plantprint_collector.audit import audit_database
from plantprint_collector.config import Settings
from plantprint_collector.connection import connect
from plantprint_collector.inbox import Message
from plantprint_collector.inbox import read as read_message
from plantprint_collector.metrics import Metrics
from plantprint_collector.migrate import load_migrations, migrate
from plantprint_collector.store_watch import look
from plantprint_collector.writer import Writer

GOLDEN = Path(__file__).parent / "contract" / "golden_sql"
AGENT = "gw"
HOUR_S = 3600
NAMES = list(CHANNELS)
PAGES = """
/v1/sites /v1/sites/mill /v1/work-centers /v1/work-centers/line/live /v1/quality /v1/batches /v1/batches?named=b- /v1/batches/b-j1
/v1/batches/b-j1/footprint /v1/batches/b-j1/explain /v1/compare?a=b-j1&b=b-j2 /v1/shipments /v1/shipments/s1
/v1/shipments/s1/statements/b-j1 /v1/alerts /v1/issues /v1/issue-groups /v1/grafana/series?metric=amount
/v1/grafana/series?metric=emission_kg_co2e /v1/grafana/series?metric=rate_kg_co2e_per_hour
/v1/grafana/series?metric=live_rate_kg_co2e_per_hour /readyz /metrics
/ /live-lists /batches /batches/b-j1 /batches/b-j1/explain /compare?a=b-j1&b=b-j2 /shipments/s1 /issues
"""


class Gateway:
    """An agent's chunks and other messages, straight into the collector's writer."""

    def __init__(self, dsn: str) -> None:
        self.conn = connect(dsn, application="test-intake", timeout_s=60)
        self._writer = Writer(Settings(database_url=dsn), Metrics())  # type: ignore[arg-type]
        self.epoch = "e1"
        self.seq = 0
        self._table_body = wire.encode_table(list(CHANNELS.values()))

    def chunk(self, kind: wire.ChunkKind, body: bytes, n: int, **more: Any) -> Message:
        number, self.seq = self.seq, self.seq + 1
        return Message(
            topics.up(SITE, AGENT, "live"), wire.seal(SITE, AGENT, self.epoch, number, kind, body, n, **more)[1]
        )

    def declare(self) -> Message:
        return self.chunk("declare", self._table_body, len(CHANNELS), table=wire.table_hash(self._table_body))

    def readings(self, readings: dict[str, Sequence[Reading]], **more: Any) -> Message:
        rows = [
            (NAMES.index(name), r.t_ms, r.value, int(r.quality)) for name, several in readings.items() for r in several
        ]
        table = wire.table_hash(self._table_body)
        return self.chunk("readings", wire.encode_rows(rows), len(rows), table=table, **more)

    def write(self, *several: Message) -> None:
        self._writer.write(self.conn, [read_message(message) for message in several])


def play(dsn: str) -> None:
    """Intake, accountant, housekeeping, audit and api, one after the other in this thread."""
    gateway = Gateway(dsn)
    with Rig(dsn) as rig, gateway.conn:
        # The only name that the database draws and that is asked for: the same in every run.
        rig.conn.execute("alter table alert alter alert_id set default '00000000-0000-0000-0000-000000000001'")
        rig.apply(mill())
        _first_hours(rig, gateway)
        _corrections(rig, gateway)
        _others(dsn, rig)
        asyncio.run(_api(dsn))


def _first_hours(rig: Rig, gateway: Gateway) -> None:
    gateway.write(gateway.declare())
    gateway.write(gateway.readings({m: steady(m, 0, 2 * HOUR_S + 900, 300) for m in NAMES}))
    rig.event("order", 0, order="o1", batch="b-j1", product="cloth", quantity="100", unit="kg")
    rig.job("j1", "u1", 0, 3000)
    rig.job("j2", "u2", 600, None)
    rig.event("output", 3100, batch="b-j1", quantity="95", unit="kg")
    state = f'{{"agent":"{AGENT}","epoch":"e1","online":true,"at_ms":{HOUR},"outbox_chunks":0}}'
    gap = wire.Gap(from_ms=HOUR, to_ms=HOUR + 1000, lost_chunks=1, lost_rows=3, reason="disk full")
    event = messages.EventMessage(kind="state", at="2026-11-24T00:00:00Z", body={"work_unit": "u1", "state": "idle"})
    gateway.write(
        Message(topics.state(SITE, AGENT), state.encode()),
        gateway.chunk("gap", wire.encode_gap(gap), 1),
        Message(topics.production(SITE, "mes"), messages.encode(event)),
        Message(topics.production(SITE, "mes"), b"nobody can read this"),
        Message(topics.up(SITE, AGENT, "live"), b"nor this"),
        gateway.chunk("readings", b"nor this", 1, table="t"),
    )
    rig.run()


def _corrections(rig: Rig, gateway: Gateway) -> None:
    """What comes again, what comes late, what is taken back, and another model; a shipment in the open hour."""
    rig.event("shipment", 2 * HOUR_S + 600, shipment="s1", batch="b-j1")
    rig.run()
    again = steady("m1", 0, 1200, 300)
    gateway.write(gateway.readings({"m1": again, "gas": [Reading(1, 7)]}))
    later = Reading(again[2].t_ms, again[2].value + 500)
    gateway.write(gateway.readings({"m1": [later], "m2": [Reading(HOUR + 450_000, 1_004_600)]}, revision=1))
    rig.run()
    rig.event("withdraw", 3100, event_id="output-b-j1-95-kg")
    rig.apply(mill(settle_after_s=600), HOUR_S)
    rig.run()
    gateway.write(gateway.readings({m: steady(m, 2 * HOUR_S + 1200, 3 * HOUR_S + 900, 300) for m in NAMES}))
    rig.run()
    # Over the budget of the line, for longer than its alert takes.
    for minute in range(16, 20):
        at_ms = HOUR + (3 * HOUR_S + minute * 60) * 1000
        gateway.write(gateway.readings({m: [Reading(at_ms, 1_400_000 + (minute - 15) * 100_000)] for m in NAMES}))
        rig.run()


def _others(dsn: str, rig: Rig) -> None:
    conn = rig.conn
    look(conn, topics.SLOTS, HOUR)
    housekeeping.compress_a_day(conn, 7, HOUR)
    housekeeping.forget_readings(conn, 1000, HOUR)
    housekeeping.drop_a_day(conn, 0)
    store.store_id(conn)
    deadletter.list_letters(dsn)
    deadletter.replay(dsn)
    audit_database(dsn)


async def _api(dsn: str) -> None:
    async with fixtures_api.served(fixtures_api.settings(dsn)) as client:
        for page in PAGES.split():
            answer = await client.get(page)
            assert answer.status_code < 400 or page == "/readyz", (page, answer.status_code, answer.text)
        event = {"kind": "job_end", "at": "2026-11-24T00:00:00Z", "body": {"job": "j9"}, "source": "mes"}
        for _ in range(2):
            assert (await client.post("/v1/production-events?site=mill", json=event)).status_code < 300


def record(dsn: str) -> Recorder:
    recorder = Recorder()
    with recorder.recording():
        play(dsn)
    return recorder


def main() -> None:
    last = load_migrations()[-1].number
    with temporary_instance() as instance, servers.postgres(instance) as dsn:
        migrate(dsn)
        recorder = record(dsn)
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / f"{last:04d}.jsonl.gz"
    save(path, recorder.statements)
    print(f"{path}: {len(recorder.statements)} statements")


if __name__ == "__main__":
    main()
