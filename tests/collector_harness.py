"""Runs the intake in a test, or the collector in a process of its own, and reads what it stored and counted."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from fake_agent import wait_until
from pydantic import SecretStr

from plantprint_collector.config import Settings
from plantprint_collector.intake import AckOrder, Intake

READINGS = (
    "select name, (extract(epoch from measured_at) * 1000)::bigint, value, quality, revision"
    " from reading join channel using (channel_id) order by 1, 2"
)


def settings(database_url: str, broker_url: str, site: str, **more: Any) -> Settings:
    """Short pauses, and a client id of the test's own."""
    values: dict[str, Any] = {
        "reconnect_s_min": 0.05,
        "reconnect_s_max": 0.2,
        "collector_client_id": f"c-{site}",
    } | more
    return Settings(database_url=SecretStr(database_url), mqtt_url=SecretStr(broker_url), **values)


@contextlib.contextmanager
def running(chosen: Settings, ack_order: AckOrder = "after_commit") -> Iterator[Intake]:
    intake = Intake(chosen, ack_order=ack_order)
    intake.start()
    try:
        wait_until(lambda: metric(intake, "connected", part="broker") == 1, "connected")
        yield intake
    finally:
        intake.stop(5.0)
    assert intake.failure is None


def metric(intake: Intake, name: str, **labels: str) -> float:
    return intake.metrics.registry.get_sample_value(f"plantprint_intake_{name}", labels) or 0.0


@contextlib.contextmanager
def collecting(database_url: str, broker_url: str, site: str, metrics_port: int, **more: str) -> Iterator[int]:
    """The pid of `plantprint collect`, which must end well when asked to at the end of the block."""
    env = {
        **os.environ,
        "PLANTPRINT_DATABASE_URL": database_url,
        "PLANTPRINT_MQTT_URL": broker_url,
        "PLANTPRINT_COLLECTOR_CLIENT_ID": f"c-{site}",
        "PLANTPRINT_METRICS_PORT": str(metrics_port),
        "PLANTPRINT_RECONNECT_S_MAX": "0.5",
        **more,
    }
    process = subprocess.Popen([sys.executable, "-m", "plantprint_cli", "collect"], env=env)
    try:
        yield process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
