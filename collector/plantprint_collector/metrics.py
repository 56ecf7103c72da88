"""Counters of the collector in a registry of its own; nothing is lost or refused without being counted here."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LATENCY_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0, 3600.0, 86_400.0)


class Metrics:
    """`registry` goes to `/metrics`; names are documented in docs/operating.md."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = self._counter("messages", "MQTT messages taken from the broker")
        self.rows = self._counter("rows", "readings in accepted chunks")
        self.repeated_rows = self._counter(
            "repeated_rows", "readings that were already there with the same or a higher rank"
        )
        self.conflicts = self._counter(
            "conflicts", "readings whose value differs from the stored one of equal revision"
        )
        self.rejected_rows = self._counter("rejected_rows", "readings set aside in rejected_reading", "reason")
        self.chunks = self._counter("chunks", "chunks stored", "kind")
        self.repeated_chunks = self._counter("repeated_chunks", "chunks dropped because they were received before")
        self.held_chunks = self._counter(
            "held_chunks", "chunks not acknowledged, so that their agent keeps them", "reason"
        )
        self.dead_letters = self._counter("dead_letters", "messages put into dead_letter", "acknowledged")
        self.bad_messages = self._counter("bad_messages", "unusable messages that are kept nowhere")
        self.events = self._counter("events", "production events by outcome", "status")
        self.gaps = self._counter("gap_rows", "readings that agents say they had to drop")
        self.transactions = self._counter("transactions", "transactions by outcome", "outcome")
        self.staged = self._counter("staged_transactions", "transactions written through the staging table")
        self.reconnects = self._counter("reconnects", "connections to a part that had been lost", "part")
        self.commit_seconds = Histogram(
            "plantprint_intake_commit_seconds", "time of one transaction", buckets=_SECONDS, registry=self.registry
        )
        self.chunk_latency = Histogram(
            "plantprint_intake_chunk_latency_seconds",
            "from a chunk's newest reading to its commit",
            ["lane"],
            buckets=_LATENCY_S,
            registry=self.registry,
        )
        self.queue_messages = Gauge(
            "plantprint_intake_queue_messages", "messages waiting for the writer", registry=self.registry
        )
        self.quarantine_full = Gauge(
            "plantprint_intake_quarantine_full", "1 when the table is at its cap", ["table"], registry=self.registry
        )
        self.connected = Gauge(
            "plantprint_intake_connected", "1 while the part is reachable", ["part"], registry=self.registry
        )

        self.accountant_failures = Gauge(
            "plantprint_accountant_failures", "passes of the accountant that failed", registry=self.registry
        )

    def is_connected(self, part: str) -> bool:
        """Whether the intake's connection to the part (broker, database) stands."""
        return self.registry.get_sample_value("plantprint_intake_connected", {"part": part}) == 1

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"plantprint_intake_{name}", text, labels, registry=self.registry)
