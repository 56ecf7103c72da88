"""`plantprint load`: its own database, broker and collector (or running ones), synthetic gateways, and a count in the store."""

import asyncio
import os
from contextlib import ExitStack
from typing import Any

import msgspec
import psycopg

from plantprint.times import from_ms
from plantprint_cli.embedded import EmbeddedBroker, EmbeddedPostgres, temporary_instance
from plantprint_cli.parts import Collector
from plantprint_collector import migrate
from plantprint_simulators.config import LoadSettings
from plantprint_simulators.load import run_load
from plantprint_simulators.load_report import LoadReport, Sent, Stored


def run(*, meters: int, hz: float, agents: int, for_s: float) -> dict[str, Any]:
    """The report as JSON values; `lost` and `duplicates` are counted in the store."""
    dsn, mqtt_url = os.environ.get("PLANTPRINT_DATABASE_URL"), os.environ.get("PLANTPRINT_MQTT_URL")
    with ExitStack() as stack:
        if dsn is None or mqtt_url is None:
            instance = stack.enter_context(temporary_instance())
            dsn = dsn or stack.enter_context(EmbeddedPostgres(instance)).dsn
            mqtt_url = mqtt_url or stack.enter_context(EmbeddedBroker(instance)).url
            migrate.migrate(dsn)
            env = {**os.environ, "PLANTPRINT_DATABASE_URL": dsn, "PLANTPRINT_MQTT_URL": mqtt_url}
            stack.enter_context(Collector(env, instance))
        settings = LoadSettings(mqtt_url=mqtt_url, load_meters=meters, load_hz=hz, load_agents=agents, load_for_s=for_s)
        where = dsn

        async def verify(sent: Sent) -> Stored:
            return await asyncio.to_thread(count_stored, where, sent)

        report = run_load(settings, verify)
    return as_json(report)


def count_stored(dsn: str, sent: Sent) -> Stored:
    """What the store holds of a run; readings are unique by key, so a repeat would be a row too many."""
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            "select count(*), count(*) - count(distinct (channel_id, measured_at)) from reading join channel using (channel_id) "
            "where site = %s and agent = any(%s) and measured_at between %s and %s",
            (sent.site, list(sent.agents), from_ms(sent.first_ms), from_ms(sent.last_ms)),
        ).fetchone()
    assert row is not None
    return Stored(rows=row[0], duplicates=row[1])


def as_json(report: LoadReport) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(report)
    return {
        **body,
        "lost": (report.rows_lost or 0) + report.rows_unacknowledged,
        "duplicates": report.rows_doubled or 0,
    }


def as_text(report: dict[str, Any]) -> str:
    return (
        f"{report['rows_per_s']:.0f} readings/s over {report['elapsed_s']:.1f} s from {report['agents']} gateways; "
        f"measured → committed p50 {report['latency_ms_p50']} ms, p99 {report['latency_ms_p99']} ms; "
        f"lost {report['lost']}, duplicates {report['duplicates']}"
    )
