"""The way up: takes chunks from the outbox to the collector over MQTT 5, which alone decides what counts as delivered.

`window` says what is sent when; this module moves the bytes, keeps the connection, and tells the outbox what arrived.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from plantprint.wire import topics
from plantprint.wire.chunk import UnknownVersionError, UnreadableEnvelopeError, properties, unseal
from plantprint.wire.messages import Ack, AgentState, MessageError, decode_ack, encode
from plantprint_edge.clock import Backoff, Clock, wall_ms
from plantprint_edge.committer import Committer, OutboxUnusableError
from plantprint_edge.config import AgentConfig
from plantprint_edge.endpoint import resolve
from plantprint_edge.link import Closed, Link, LinkError, Published, Received
from plantprint_edge.outbox import Outbox
from plantprint_edge.records import Stored
from plantprint_edge.window import Window

log = structlog.get_logger(__name__)

REFUSED = 0x80
NOBODY_SUBSCRIBES = 0x10
TWIN = "another agent of this site has the same id: give each its own, or end the copy; both deliver meanwhile"
TWIN_S_MAX = 60.0
UNHEARD = "no collector subscribes: start that of this site; readings wait in the outbox"


@dataclass(slots=True)
class UplinkCounts:
    """What happened since the start; `trouble` is why what is published now reaches nobody, with a remedy.

    `twin_signs`: connections that another agent with the same id took over, where the broker says so, and acknowledgements
    of chunks that were not made here. `twin` says what to do, until there was no sign for a minute.
    """

    connected: bool = False
    connections: int = 0
    twin_signs: int = 0
    published: int = 0
    resent: int = 0
    acked: int = 0
    refused: int = 0
    unheard: int = 0
    store_changes: int = 0
    last_ack_ms: int | None = None
    trouble: str = ""
    twin: str = ""


class Uplink:
    """The sending side of an agent. `delete_on="puback"` is wrong on purpose: only the delivery test uses it."""

    def __init__(
        self,
        config: AgentConfig,
        committer: Committer,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        delete_on: Literal["ack", "puback"] = "ack",
    ) -> None:
        limits = config.uplink
        self._config = config
        self._committer = committer
        self._clock = clock
        self._environ = environ
        self._delete_on = delete_on
        self._window = Window(limits.window_chunks, int(limits.resend_after_s * 1000), int(limits.resend_s_max * 1000))
        self._backoff = Backoff(limits.backoff_s_min, limits.backoff_s_max)
        self._wake = committer.changed
        self._stopping = False
        self._reconnect = False
        self._generation = -1
        self._in_flight: dict[int, tuple[str, int]] = {}
        self._declares: dict[str, Stored] = {}
        self._last_refusal = 0
        self._twin_at = 0.0
        self.counts = UplinkCounts()

    async def run(self) -> None:
        """Connect, send, reconnect, until `stop`."""
        while not self._stopping:
            try:
                link = await self._connect()
            except (LinkError, ValueError) as error:
                log.warning(
                    "broker_unreachable", reason=str(error), remedy="chunks wait in the outbox; it is tried again"
                )
            else:
                await self._use(link)
            if not self._stopping:
                await self._sleep(self._backoff.next_s())

    def reconfigure(self, config: AgentConfig) -> None:
        """Go on with another configuration, over a new connection if its broker is another."""
        self._reconnect = config.broker != self._config.broker
        self._config = config
        self._wake.set()

    def stop(self) -> None:
        """Say offline and end `run`; what is not acknowledged stays in the outbox."""
        self._stopping = True
        self._wake.set()

    async def _sleep(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not self._stopping and (left_s := deadline - time.monotonic()) > 0:
            await self._wait(left_s)

    async def _wait(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        self._wake.clear()

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _connect(self) -> Link:
        self._reconnect = False
        site, agent = self._config.site, self._config.agent
        will = (topics.state(site, agent), self._state(online=False))
        link = Link(
            resolve(self._config.broker, self._environ),
            f"plantprint-{site}-{agent}",
            will,
            self._config.uplink.inflight_max,
            self._wake.set,
        )
        await link.open()
        try:
            await link.subscribe(topics.ack(site, agent))
        except LinkError:
            await link.close()
            raise
        return link

    async def _use(self, link: Link) -> None:
        self.counts.connected, self.counts.trouble = True, ""
        self.counts.connections += 1
        log.info("uplink_connected", undelivered_chunks=self._committer.stats.unacked_chunks)
        try:
            await self._session(link)
        except LinkError as error:
            remedy = "chunks wait in the outbox; it is connected again"
            if "taken over" in str(error):
                self._note_twin()
                remedy = TWIN
            log.warning("uplink_lost", reason=str(error), remedy=remedy)
        finally:
            self.counts.connected, self.counts.trouble = False, ""
            if self._stopping or self._reconnect:
                self._publish_state(link, online=False)
            await link.close()

    async def _session(self, link: Link) -> None:
        self._generation = -1
        self._in_flight.clear()
        state_at = 0.0
        while not (self._stopping or self._reconnect):
            try:
                await self._work(link)
            except OutboxUnusableError:
                await self._sleep(self._config.outbox.retry_s)
            now = time.monotonic()
            if now - self._twin_at > TWIN_S_MAX:
                self.counts.twin = ""
            if now >= state_at:
                self._publish_state(link, online=True)
                state_at = now + self._config.uplink.state_every_s
            next_ms = self._window.next_ms()
            due = state_at if next_ms is None else min(state_at, next_ms / 1000)
            await self._wait(max(0.0, due - now))

    async def _work(self, link: Link) -> None:
        await self._begin(link)
        while link.inbox:
            await self._handle(link, link.inbox.popleft())
        self._window.stored(self._committer.stats.newest_id)
        await self._resend(link)
        while wants := self._window.wants():
            for want in wants:
                read = partial(Outbox.next_unacked, after=want.after, upto=want.upto, limit=want.limit)
                for chunk in self._window.take(want, await self._committer.call(read), _now_ms()):
                    await self._publish(link, want.lane, chunk)

    async def _resend(self, link: Link) -> None:
        """Send again what is due, each after its channel table: a store that lacks the table can take no readings."""
        due = self._window.resends(_now_ms())
        self.counts.resent += len(due)
        tables = {chunk.table: None for _, chunk in due if chunk.table}
        if tables.keys() - self._declares.keys():
            # Declared since this connection began.
            self._declares = {chunk.table: chunk for chunk in await self._committer.call(Outbox.declares)}
        first = [self._declares[table] for table in tables if table in self._declares]
        for chunk in first:
            await self._publish(link, "fill", chunk)
        for lane, chunk in due:
            if chunk not in first:
                await self._publish(link, lane, chunk)

    async def _begin(self, link: Link) -> None:
        """Channel tables first, then all that is undelivered: after a connect, and when store or outbox is another."""
        if self._generation == self._committer.stats.generation:
            return
        declares = await self._committer.call(Outbox.declares)
        self._declares = {chunk.table: chunk for chunk in declares}
        self._generation = self._committer.stats.generation
        self._window.begin(self._committer.stats.newest_id, [chunk.id for chunk in declares])
        for chunk in declares:
            await self._publish(link, "fill", chunk)

    async def _handle(self, link: Link, item: Received | Published | Closed) -> None:
        match item:
            case Closed(reason):
                raise LinkError(reason)
            case Published(mid, code, text):
                await self._published(self._in_flight.pop(mid, None), code, text)
            case Received(_, payload):
                try:
                    await self._acknowledged(link, decode_ack(payload))
                except MessageError as error:
                    log.warning(
                        "ack_unreadable", reason=str(error), remedy="upgrade agent and collector to one version"
                    )

    async def _acknowledged(self, link: Link, ack: Ack) -> None:
        def note(outbox: Outbox) -> tuple[bool, int, bool]:
            changed = outbox.store_changed(ack.store)
            return changed, outbox.acknowledge(ack.received, wall_ms()), outbox.is_copied(ack.received)

        changed, marked, copied = await self._committer.call(note)
        if copied:
            self._note_twin()
        if changed:
            self.counts.store_changes += 1
            log.warning("store_changed", store=ack.store, remedy="none: what was kept is being sent again")
            self._generation = -1
            await self._begin(link)
        self._window.acked(ack.received, _now_ms())
        self.counts.acked += marked
        self.counts.last_ack_ms = wall_ms()
        self._backoff.reset()

    def _note_twin(self) -> None:
        if not self.counts.twin:
            log.error("twin_agent", agent=self._config.agent, remedy=TWIN)
        self.counts.twin_signs += 1
        self.counts.twin = TWIN
        self._twin_at = time.monotonic()

    async def _published(self, key: tuple[str, int] | None, code: int, text: str) -> None:
        if key is None:
            # A state message: nobody has to listen to it.
            return
        if code != self._last_refusal and code >= REFUSED:
            log.error(
                "publish_refused",
                code=hex(code),
                reason=text,
                remedy="check the broker's ACL and limits for this agent",
            )
        elif code != self._last_refusal and code == NOBODY_SUBSCRIBES:
            log.warning("no_collector", remedy="start the collector of this site; chunks wait in the outbox")
        self._last_refusal = code
        self.counts.trouble = UNHEARD if code == NOBODY_SUBSCRIBES else ""
        if code >= REFUSED:
            self.counts.trouble = f"the broker refuses what is published ({hex(code)} {text}): check its ACL and limits"
        self.counts.refused += code >= REFUSED
        self.counts.unheard += code == NOBODY_SUBSCRIBES
        if self._delete_on == "puback" and code < REFUSED:
            epoch, seq = key
            await self._committer.call(lambda outbox: outbox.forget(epoch, seq))
            self._window.acked({epoch: [(seq, seq)]}, _now_ms())

    # --- messages -----------------------------------------------------------------------------------------------------

    async def _publish(self, link: Link, lane: topics.Lane, chunk: Stored) -> None:
        try:
            user_properties = properties(unseal(chunk.payload)[0])
        except UnknownVersionError:
            # Stored by a newer agent: its bytes are final and speak for themselves.
            user_properties = []
        except UnreadableEnvelopeError as error:
            await self._discard(chunk, str(error))
            return
        topic = topics.up(self._config.site, self._config.agent, lane)
        self._in_flight[link.publish(topic, chunk.payload, user_properties)] = (chunk.epoch, chunk.seq)
        self.counts.published += 1

    async def _discard(self, chunk: Stored, problem: str) -> None:
        remedy = "the chunk is counted as lost; check the disk"
        log.error("chunk_damaged", epoch=chunk.epoch, seq=chunk.seq, reason=problem, remedy=remedy)
        await self._committer.call(lambda outbox: outbox.discard(chunk))
        self._window.acked({chunk.epoch: [(chunk.seq, chunk.seq)]}, _now_ms())

    def _publish_state(self, link: Link, *, online: bool) -> None:
        topic = topics.state(self._config.site, self._config.agent)
        link.publish(topic, self._state(online=online), retain=True)

    def _state(self, *, online: bool) -> bytes:
        stats = self._committer.stats
        return encode(
            AgentState(
                agent=self._config.agent,
                epoch=stats.epoch,
                online=online,
                at_ms=self._clock.now_ms(),
                outbox_chunks=stats.unacked_chunks,
                oldest_ms=stats.oldest_ms,
            )
        )


def _now_ms() -> int:
    return int(time.monotonic() * 1000)
