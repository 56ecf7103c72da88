"""The intake: from MQTT to the store and back to the agents, with two threads and one bounded queue.

The network thread queues messages; while the queue is full it blocks, so memory stays flat and the broker (at last the
agents' outboxes) holds the rest. The writer thread takes what arrived within `commit_ms_max` or up to `commit_rows_max`,
commits it, and only then answers. That is one transaction; of a large batch agents' shares are committed beside each other
(`sessions.py`), and what another session could not commit the writer thread commits itself.

Two acknowledgements, and what each means:
- `ack/{agent}` says "stored". Chunks that are not (unreadable, unknown version, undeclared table, quarantine at its cap)
  are missing from it, so their agent keeps them and sends them again.
- The MQTT-level one only says "dealt with, forget it" and follows for *every* message once the transaction has committed,
  also for those that are not stored. Holding it back would gain nothing, since MQTT redelivers on reconnects only, and
  would in time fill the receive window (iotcore: close the connection) and stall everybody.
While the database is away neither is sent. Acknowledgements go out in order of arrival, which iotcore insists on.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Literal

import structlog

from plantprint.wire import topics
from plantprint.wire.messages import Ack, EventAck, encode
from plantprint_collector import inbox, store
from plantprint_collector.config import Settings
from plantprint_collector.inbox import Chunk, Event, Foreign, Ignored, Item, Message, Unreadable
from plantprint_collector.link import BrokerLink
from plantprint_collector.metrics import Metrics
from plantprint_collector.sessions import AWAY, Session, shares
from plantprint_collector.transaction import Outcome

log = structlog.get_logger("plantprint.collector.intake")

AckOrder = Literal["after_commit", "before_commit"]
Batch = list[tuple[Message, Item]]

_POLL_S = 0.2
_SAY_AGAIN_S = 60.0
_SAID_MAX = 1000
# A transaction that takes longer counts as a database that does not answer, until it is through.
_ANSWER_S = 10.0
# A statement that hangs at a stop is cut off this long after the drain's limit.
_CANCEL_S = 2.0
_REMEDIES = {
    "unknown_table": "the agent must send its channel table again; restart it if this goes on",
    "version": "upgrade the collector",
    "new_days": "nothing, if it goes on: room is made a few days at a time; if not, see the agent's clock",
    "unreadable": "a resend heals corruption; if this goes on look at `plantprint deadletter list`",
    "dead_letter_full": "look at `plantprint deadletter list`, replay or delete, or raise PLANTPRINT_DEAD_LETTER_MB_MAX",
    "rejected_reading_full": "repair clock or channels, replay, or raise PLANTPRINT_REJECTED_ROWS_MAX",
}


class Intake:
    """One shard of the collector. `start`, then `stop`; or `run`, which ends with the cause when a thread failed."""

    def __init__(
        self, settings: Settings, metrics: Metrics | None = None, ack_order: AckOrder = "after_commit"
    ) -> None:
        """`ack_order` exists for the test that proves what the order is for; no setting reaches it."""
        self.metrics = metrics or Metrics()
        self.failure: BaseException | None = None
        self._settings = settings
        self._ack_order = ack_order
        self._queue: queue.Queue[tuple[Message, Item]] = queue.Queue(settings.intake_queue_messages_max)
        self.metrics.queue_messages.set_function(self._queue.qsize)
        self._first, *self._others = [Session(settings, self.metrics) for _ in range(settings.commit_sessions)]
        self._pool = ThreadPoolExecutor(max(1, len(self._others)), "intake-share")
        self._is_database_there = False
        self._asked_s: float | None = None
        self.metrics.connected.labels("database").set_function(self._database_answers)
        self._link = BrokerLink(settings, self.metrics, self._enqueue)
        self._thread = threading.Thread(target=self._main, name="intake-writer", daemon=True)
        self._draining = threading.Event()
        self._ended = threading.Event()
        self._drain_until_s = float("inf")
        self._said_s: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        """Starts both threads; neither the broker nor the database need be there yet."""
        self._link.start()
        self._thread.start()

    def stop(self, drain_s: float | None = None) -> None:
        """Takes nothing more, stores what is queued within `drain_s`, answers, closes. The rest stays with its sender."""
        limit_s = self._settings.drain_s_max if drain_s is None else drain_s
        self._drain_until_s = time.monotonic() + limit_s
        self._draining.set()
        self._thread.join(limit_s + _CANCEL_S)
        if self._thread.is_alive():
            log.warning("intake_stop_cancels", remedy="the database is slow; what was not stored is sent again")
            for session in (self._first, *self._others):
                session.cancel()
            self._thread.join(_CANCEL_S)
        self._link.stop()

    def run(self, stop_requested: threading.Event) -> None:
        """Works until asked to stop; raises what ended a thread before."""
        self.start()
        while not stop_requested.wait(_POLL_S) and self.failure is None:
            pass
        self.stop()
        if self.failure is not None:
            raise self.failure

    # ---- network thread

    def _enqueue(self, message: Message) -> None:
        try:
            # Here, while the writer waits for the server.
            item = inbox.read(message, self._settings.collector_slots)
        except Exception as error:
            # A bug: without this the network thread would end and leave a process that looks well.
            self.failure = error
            log.exception("intake_failed", topic=message.topic, remedy="restart; nothing is lost")
            return
        while not self._draining.is_set() and not self._ended.is_set():
            try:
                self._queue.put((message, item), timeout=_POLL_S)
            except queue.Full:
                continue
            self.metrics.messages.inc()
            return

    # ---- writer thread

    def _main(self) -> None:
        try:
            while (batch := self._take()) is not None:
                self._store(batch)
        except BaseException as error:
            self.failure = error
            log.exception("intake_failed", remedy="restart; nothing is lost, agents keep what is not acknowledged")
        finally:
            self._ended.set()
            self._close_first()
            self._pool.shutdown()
            for session in self._others:
                session.close()

    def _take(self) -> Batch | None:
        """The next batch, once there is something; None when draining is done.

        Never more than half of what the broker sends before it wants answers, so that the rest comes in the meantime.
        """
        batch: Batch = []
        rows, until_s = 0, float("inf")
        messages_max = max(1, self._settings.mqtt_receive_max // 2)
        while rows < self._settings.commit_rows_max and len(batch) < messages_max:
            wait_s = min(_POLL_S, max(0.0, until_s - time.monotonic()))
            try:
                message, item = self._queue.get(timeout=wait_s) if wait_s else self._queue.get_nowait()
            except queue.Empty:
                if batch and time.monotonic() >= until_s:
                    break
                if self._draining.is_set():
                    return batch or None
                continue
            if not batch:
                until_s = time.monotonic() + self._settings.commit_ms_max / 1000
            batch.append((message, item))
            rows += inbox.row_count(item)
        return batch

    def _store(self, batch: Batch) -> None:
        """Until it is stored, however long the database is away; at a stop until the drain's limit."""
        items = [item for _, item in batch]
        if self._ack_order == "before_commit":
            self._patiently(items, lambda outcome: self._answer(batch, [outcome]))
            return
        mine, *theirs = shares(items, 1 + len(self._others), self._settings.commit_shared_rows_min)
        asked = [self._pool.submit(self._once, *pair) for pair in zip(self._others, theirs, strict=False)]
        found = [self._patiently(mine), *(future.result() for future in asked)]
        # What another session could not commit, or does not know whether it did.
        found += [self._patiently(share) for share, outcomes in zip(theirs, found[1:], strict=True) if outcomes is None]
        stored = [outcomes for outcomes in found if outcomes is not None]
        if len(stored) == 1 + len(theirs):
            self._report(items, [*chain(*stored)])
            self._answer(batch, [*chain(*stored)])

    def _once(self, session: Session, items: Sequence[Item]) -> list[Outcome] | None:
        """What another session committed; None where it failed."""
        try:
            return session.write(items)
        except AWAY as error:
            session.close()
            self._say("share_failed", str(error).strip(), remedy="it is written by the first session")
            return None

    def _patiently(
        self, items: Sequence[Item], before_commit: Callable[[Outcome], None] = lambda _: None
    ) -> list[Outcome] | None:
        """Tries until it is committed; None at the drain's limit."""
        delay_s = self._settings.reconnect_s_min
        while time.monotonic() < self._drain_until_s:
            try:
                self._asked_s = time.monotonic()
                outcomes = self._first.write(items, before_commit)
            except AWAY as error:
                self._close_first()
                self._say("database_away", str(error).strip(), remedy="waits and tries again; nothing is acknowledged")
                self._pause(delay_s)
                delay_s = min(2 * delay_s, self._settings.reconnect_s_max)
            else:
                self._is_database_there = True
                return outcomes
            finally:
                self._asked_s = None
        return None

    def _answer(self, batch: Batch, outcomes: Sequence[Outcome]) -> None:
        self._link.acknowledge([message for message, _ in batch])
        for outcome in outcomes:
            for (site, agent), epochs in outcome.received_by_agent().items():
                ack = Ack(store=self._first.store_id, revision=outcome.revision, received=epochs)
                self._link.publish(topics.ack(site, agent), encode(ack))
            for event, status, text in outcome.confirmed:
                answer = EventAck(event_id=event.event_id, revision=event.revision, status=status, message=text)
                self._link.publish(topics.production_ack(event.site, event.source), encode(answer))

    def _report(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        for item in items:
            if isinstance(item, Ignored) and item.reason:
                self.metrics.bad_messages.inc()
                self._say("message_ignored", item.reason)
        for outcome in outcomes:
            for held, reason in outcome.held:
                self._say("message_held", reason, **_place(held), remedy=_REMEDIES.get(reason, ""))
            for letter in outcome.letters:
                self._say(
                    "message_dead_lettered", letter.reason, topic=letter.topic, remedy="plantprint deadletter list"
                )
            for site, topic in outcome.without_model.items():
                reason = f"site {site} has no plant model"
                self._say("site_without_model", reason, topic=topic, remedy=store.NO_MODEL_REMEDY)

    def _say(self, event: str, reason: str, **context: str) -> None:
        """One warning a minute per event and reason, however many messages it concerns."""
        now_s = time.monotonic()
        if now_s - self._said_s.get((event, reason), -_SAY_AGAIN_S) >= _SAY_AGAIN_S:
            if len(self._said_s) > _SAID_MAX:
                self._said_s.clear()
            self._said_s[event, reason] = now_s
            log.warning(event, reason=reason, **context)

    def _close_first(self) -> None:
        if self._first.close():
            self._is_database_there = False
            self.metrics.reconnects.labels("database").inc()

    def _database_answers(self) -> bool:
        """Whether the last transaction succeeded, and the one that runs is not slow beyond belief."""
        asked_s = self._asked_s
        return self._is_database_there and (asked_s is None or time.monotonic() - asked_s < _ANSWER_S)

    def _pause(self, delay_s: float) -> None:
        until_s = time.monotonic() + delay_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
        while (left_s := min(until_s, self._drain_until_s) - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_S))


def _place(item: Item) -> dict[str, str]:
    match item:
        case Chunk():
            return {"site": item.header.site, "agent": item.header.agent}
        case Foreign():
            return {"site": item.site, "agent": item.agent}
        case Unreadable() | Event():
            return {"topic": item.topic}
    return {}
