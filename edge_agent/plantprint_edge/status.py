"""What an agent says about itself: a status file for `plantprint edge status`, and its counters for Prometheus.

Both read the same plain counters when asked; the hot path only adds integers.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plantprint.times import format_instant, parse_instant
from plantprint_edge.clock import wall_ms
from plantprint_edge.config import AgentConfig
from plantprint_edge.records import Stats
from plantprint_edge.reload import ReloadCounts
from plantprint_edge.sources import SourceCounts
from plantprint_edge.uplink import UplinkCounts


@dataclass(frozen=True, slots=True)
class ClockState:
    """Whether this machine knows the time, how often it stepped, and the readings that had to wait for it."""

    dates: bool = True
    steps: int = 0
    last_step_s: float | None = None
    undated_rows: int = 0
    undated_rows_lost: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is counted, at one moment."""

    readings: int
    outbox: Stats
    uplink: UplinkCounts
    reloads: ReloadCounts
    clock: ClockState
    sources: Sequence[SourceCounts]


def status_path(config: AgentConfig) -> Path:
    """Where a running agent leaves its status: beside the outbox."""
    return _beside(config.outbox.path)


def _beside(outbox: Path) -> Path:
    return outbox.with_name(outbox.name + ".status.json")


def read_status(config: AgentConfig) -> dict[str, Any]:
    """The last status of the agent with this configuration; raises `OSError` when there is none."""
    return status_of(config.outbox.path)


def status_of(outbox: Path) -> dict[str, Any]:
    """The last status of the agent with this outbox; raises `OSError` when there is none."""
    status: dict[str, Any] = json.loads(_beside(outbox).read_text("utf-8"))
    return status


def age_s(status: dict[str, Any], now_ms: int) -> float:
    """Seconds since the agent wrote `status`."""
    return (now_ms - parse_instant(status["at"])) / 1000


def is_alive(status: dict[str, Any], now_ms: int) -> bool:
    """Whether the agent runs, as far as a status that it writes every `every_s` tells."""
    return bool(status["running"]) and age_s(status, now_ms) < 5 * status.get("every_s", 2) + 5


def write_status(config: AgentConfig, status: dict[str, Any]) -> None:
    """Replace the status file in one step; raises `OSError`, for instance on a full disk."""
    path = status_path(config)
    draft = path.with_name(path.name + ".new")
    # A slower encoder holds the interpreter for 8 ms with 1 000 devices, and polls wait.
    draft.write_bytes(orjson.dumps(status, option=orjson.OPT_INDENT_2))
    draft.replace(path)


def describe(config: AgentConfig, snapshot: Snapshot, *, running: bool) -> dict[str, Any]:
    """The status as plain data; instants are RFC 3339."""
    outbox, uplink = asdict(snapshot.outbox), asdict(snapshot.uplink)
    oldest_at, last_ack_at = _instant(outbox.pop("oldest_ms")), _instant(uplink.pop("last_ack_ms"))
    return {
        "agent": config.agent,
        "site": config.site,
        "running": running,
        "pid": os.getpid(),
        "at": format_instant(wall_ms()),
        "every_s": config.status_every_s,
        "readings": snapshot.readings,
        "outbox": {**outbox, "oldest_at": oldest_at},
        "uplink": {**uplink, "last_ack_at": last_ack_at},
        "reloads": asdict(snapshot.reloads),
        "clock": asdict(snapshot.clock),
        "sources": [_source(counts) for counts in snapshot.sources],
    }


def _source(counts: SourceCounts) -> dict[str, Any]:
    return {
        "name": counts.name,
        "kind": counts.kind,
        "polls": counts.polls,
        "readings": counts.readings,
        "missing": counts.missing,
        "errors": dict(counts.errors),
        "undeclared": dict(counts.undeclared),
        "last_good_at": _instant(counts.last_good_ms),
        "latency_ms": counts.latency_ms and round(counts.latency_ms, 1),
        "failed_share": counts.failed_share and round(counts.failed_share, 3),
    }


def _instant(t_ms: int | None) -> str | None:
    return None if t_ms is None else format_instant(t_ms)


class Metrics(Collector):
    """The counters in Prometheus' words; `take` gives the present snapshot."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterable[Metric]:
        now = self._take()
        for name, text, gauge in (
            ("connected", "1 while the broker is connected", int(now.uplink.connected)),
            ("outbox_unacked_chunks", "Chunks that the collector has not acknowledged", now.outbox.unacked_chunks),
            ("outbox_used_bytes", "Bytes of the outbox in use", now.outbox.used_bytes),
            ("outbox_full", "1 while readings are lost for want of room", int(bool(now.outbox.full))),
            ("doubtful_rows", "Readings that may be lost: the outbox cannot be read", now.outbox.doubtful_rows),
            ("clock_known", "1 while this machine knows the time", int(now.clock.dates)),
            ("undated_rows", "Readings in memory that wait for the time", now.clock.undated_rows),
        ):
            yield GaugeMetricFamily(f"plantprint_edge_{name}", text, value=gauge)
        for name, text, count in (
            ("readings", "Readings taken from all sources", now.readings),
            ("lost_chunks", "Chunks that could not be stored", now.outbox.lost_chunks),
            ("lost_rows", "Readings in chunks that could not be stored", now.outbox.lost_rows),
            ("gap_chunks", "Gap records written", now.outbox.gap_chunks),
            ("published_chunks", "Chunks handed to the broker", now.uplink.published),
            ("resent_chunks", "Chunks published again for want of an acknowledgement", now.uplink.resent),
            ("acked_chunks", "Chunks acknowledged by the collector", now.uplink.acked),
            ("publish_refusals", "Publishes that the broker refused", now.uplink.refused),
            ("publish_unheard", "Publishes that nobody subscribed to", now.uplink.unheard),
            ("connections", "Connections made to the broker", now.uplink.connections),
            ("twin_signs", "Signs of another agent with the same id", now.uplink.twin_signs),
            ("store_changes", "Changes of the collector's store", now.uplink.store_changes),
            ("clock_steps", "Steps of this machine's clock", now.clock.steps),
            ("undated_rows_lost", "Readings lost because their time was never known", now.clock.undated_rows_lost),
            ("reloads", "Changed configurations that were taken up", now.reloads.taken),
            ("reloads_refused", "Changed configurations that could not be used", now.reloads.refused),
        ):
            yield CounterMetricFamily(f"plantprint_edge_{name}", text, value=count)
        yield from _of_sources(now.sources)


def _of_sources(sources: Sequence[SourceCounts]) -> Iterable[Metric]:
    polls = CounterMetricFamily(
        "plantprint_edge_polls", "Polls, messages or rows taken from a source", labels=["source"]
    )
    missing = CounterMetricFamily(
        "plantprint_edge_missing", "Values that a source marked as missing", labels=["source"]
    )
    errors = CounterMetricFamily("plantprint_edge_errors", "Errors of a source", labels=["source", "reason"])
    good = GaugeMetricFamily("plantprint_edge_last_good_seconds", "Site time of the last good value", labels=["source"])
    latency = GaugeMetricFamily("plantprint_edge_latency_seconds", "Mean time of a request", labels=["source"])
    for counts in sources:
        if counts.latency_ms is not None:
            latency.add_metric([counts.name], counts.latency_ms / 1000)
        polls.add_metric([counts.name], counts.polls)
        missing.add_metric([counts.name], counts.missing)
        for reason, count in list(counts.errors.items()):
            errors.add_metric([counts.name, reason], count)
        if counts.last_good_ms is not None:
            good.add_metric([counts.name], counts.last_good_ms / 1000)
    return polls, missing, errors, good, latency
