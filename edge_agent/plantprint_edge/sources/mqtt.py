"""Devices that publish over MQTT. A message is acknowledged to its broker once its readings are on our disk.

What an agent took and could not store before it died is then delivered again.
"""

import asyncio
import ssl
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from plantprint_edge.clock import Backoff, Clock
from plantprint_edge.config import Broker, MqttSource
from plantprint_edge.endpoint import Endpoint, resolve
from plantprint_edge.mappings import SHIPPED
from plantprint_edge.payloads.paths import topic_of
from plantprint_edge.payloads.sparkplug import rebirth_request
from plantprint_edge.sources import Intake, SourceCounts
from plantprint_edge.sources.mqtt_births import BirthFile
from plantprint_edge.sources.mqtt_inbox import Arrived, Chunks, Inbox
from plantprint_edge.sources.mqtt_routes import Router

log = structlog.get_logger(__name__)

# A topic is at most this long; properties of a message, which nobody here reads, share its room.
TOPIC_BYTES_MAX = 65_536
# Topics of an earlier configuration that are given up one by one; the rest is counted as it comes.
GIVEN_UP_MAX = 1000
BIRTHS_EVERY_S = 10


class MqttIntake(Intake, Protocol):
    """Where readings go, and can be put on the disk before their time."""

    def close(self, chunks: Collection[asyncio.Future[bool]]) -> None:
        """Have these chunks stored now, and not when they are full or old enough."""
        ...


class MqttReader:
    """Subscribes to the topics of one source and turns their messages into readings."""

    def __init__(
        self,
        source: MqttSource,
        first_index: int,
        intake: MqttIntake,
        clock: Clock,
        *,
        client_id: str,
        broker: Broker,
        environ: Mapping[str, str],
        births_path: Path,
    ) -> None:
        self.counts = SourceCounts(source.name, "mqtt")
        self.connections = 0
        self._source = source
        self._intake = intake
        self._clock = clock
        self._client_id = client_id
        self._broker = source.broker or broker
        self._environ = environ
        self._backoff = Backoff(0.5, source.backoff_s_max)
        self._router = Router(source, first_index, self.counts, clock)
        self._given_up: set[str] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._asked_s: dict[str, float] = {}
        self._births = BirthFile(births_path, source.births_s_max)
        self._router.recall(self._births.load())
        self._births_seen = self._router.births_changed

    async def run(self) -> None:
        """Listen until cancelled, connecting again whenever the broker goes away."""
        while True:
            try:
                client = self._client(resolve(self._broker, self._environ))
                inbox = Inbox(client, self._source.queue_mb_max * 1_000_000, self._on_overflow, self._on_connect)
                async with client:
                    await self._listen(client, inbox)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self.counts.errors["connection"] += 1
                log.warning(
                    "mqtt_source_lost", source=self._source.name, reason=str(error), remedy="it is connected again"
                )
            self._router.lost_sight()
            await asyncio.sleep(self._backoff.next_s())

    def _client(self, end: Endpoint) -> aiomqtt.Client:
        five = self._source.version == "5"
        wishes = None
        if five:
            wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            wishes.SessionExpiryInterval = self._source.session_expiry_s
            # What is larger by far than what is read the broker shall not even send.
            wishes.MaximumPacketSize = self._source.payload_bytes_max + TOPIC_BYTES_MAX
            # What is not acknowledged waits in memory.
            wishes.ReceiveMaximum = self._source.receive_max
        return aiomqtt.Client(
            end.host,
            end.port,
            username=end.username,
            password=end.password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            clean_session=None if five else False,
            clean_start=False if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=wishes,
            keepalive=end.keepalive_s,
            timeout=end.connect_timeout_s,
            tls_context=_tls(end) if end.tls else None,
        )

    def _on_connect(self, session_kept: bool) -> None:
        # Without a kept session a node may have died and come back while nobody listened.
        if not session_kept:
            self._router.forget_births()
            self._births_have_changed()

    def _births_have_changed(self) -> None:
        if self._births_seen != self._router.births_changed:
            self._births_seen = self._router.births_changed
            self._births.drop()

    def _on_overflow(self) -> None:
        self.counts.errors["overflow"] += 1

    async def _listen(self, client: aiomqtt.Client, inbox: Inbox) -> None:
        # What a kept session holds comes at once, and iotcore answers nothing while 100 messages wait to be acknowledged.
        reading = asyncio.create_task(self._take_all(client, inbox), name=f"{self._source.name} messages")
        holding = asyncio.create_task(self._hold(), name=f"{self._source.name} held values")
        keeping = asyncio.create_task(self._keep_births(), name=f"{self._source.name} births")
        try:
            await self._subscribe(client)
            inbox.confirmed()
            await self._ask_births(client)
            done, _ = await asyncio.wait([reading, holding, keeping], return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            ending = [reading, holding, keeping, *self._leaving]
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)
            # From here on nobody listens.
            if lives := self._router.lives():
                self._births.prepare(lives)
                self._births.publish()

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        filters = self._router.filters()
        for topic, qos in filters.items():
            granted = await client.subscribe(topic, qos=qos)
            if any(_refused(code) for code in granted):
                self.counts.errors["subscription"] += 1
                remedy = "check the topic and the broker's ACL for this agent"
                log.error("subscription_refused", source=self._source.name, topic=topic, remedy=remedy)
        self._backoff.reset()
        self.connections += 1
        log.info("mqtt_source_connected", source=self._source.name, topics=len(filters))

    async def _take_all(self, client: aiomqtt.Client, inbox: Inbox) -> None:
        acker = asyncio.create_task(inbox.acknowledge(), name=f"{self._source.name} acks")
        try:
            while True:
                arrived = await inbox.next()
                inbox.taken(arrived, await self._take(client, arrived))
                if urgent := inbox.urgent(self._source.unacked_max):
                    self._intake.close(urgent)
        finally:
            acker.cancel()
            with suppress(asyncio.CancelledError):
                await acker

    async def _take(self, client: aiomqtt.Client, arrived: Arrived) -> Chunks:
        self.counts.polls += 1
        if not self._router.route(arrived.topic):
            self.counts.errors["former topic"] += 1
            self._give_up(client, arrived.topic)
            return []
        rows = self._router.read(arrived.topic, arrived.payload, retained=arrived.kept)
        self._births_have_changed()
        await self._ask_births(client)
        return await self._intake.put(rows) if rows else []

    def _give_up(self, client: aiomqtt.Client, topic: str) -> None:
        """The broker remembers what an earlier configuration subscribed to: this topic, or the filter of a mapping."""
        for former in {topic, *_shipped_filters(topic)} - self._given_up:
            if len(self._given_up) < GIVEN_UP_MAX:
                self._given_up.add(former)
                task = asyncio.create_task(_unsubscribe(client, former), name=f"{self._source.name} {former}")
                self._leaving.add(task)
                task.add_done_callback(self._leaving.discard)

    async def _ask_births(self, client: aiomqtt.Client) -> None:
        """Ask Sparkplug nodes for their birth, where agent.yaml allows it: the only thing ever sent to a device."""
        for name, pause_s in self._router.births_to_ask():
            now_s = asyncio.get_running_loop().time()
            if now_s - self._asked_s.get(name, -pause_s) >= pause_s:
                self._asked_s[name] = now_s
                group, _, node = name.partition("/")
                await client.publish(f"spBv1.0/{group}/NCMD/{node}", rebirth_request(self._clock.now_ms()), qos=0)
                log.info("birth_requested", source=self._source.name, node=name)

    async def _hold(self) -> None:
        """Repeat unchanged values of living devices, where agent.yaml asks for it."""
        pause_s = self._router.hold_pause_s()
        while pause_s is not None:
            await asyncio.sleep(pause_s)
            if rows := self._router.held():
                await self._intake.put(rows)

    async def _keep_births(self) -> None:
        """Keep on disk what Sparkplug nodes said at their birth, with the time until which it held."""
        while True:
            await asyncio.sleep(BIRTHS_EVERY_S)
            seen, lives = self._births_seen, self._router.lives()
            if lives:
                await asyncio.to_thread(self._births.prepare, lives)
                if seen == self._births_seen:
                    self._births.publish()


async def _unsubscribe(client: aiomqtt.Client, topic: str) -> None:
    # iotcore gives up only what was subscribed to in this connection, and answers nothing to all else.
    with suppress(aiomqtt.MqttError):
        await client.subscribe(topic, qos=0)
        await client.unsubscribe(topic)


def _shipped_filters(topic: str) -> set[str]:
    """What shipped mappings subscribe to at their usual place that takes in this topic."""
    mappings = filter(None, map(SHIPPED.find, SHIPPED.ids()))
    patterns = (topic_of(rule.topic, mapping.base) for mapping in mappings for rule in mapping.messages)
    return {pattern.filter for pattern in patterns if pattern.match(topic) is not None}


def _refused(code: int | ReasonCode) -> bool:
    return (code if isinstance(code, int) else code.value) >= 0x80


def _tls(end: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=end.ca_file)
    if end.cert_file:
        context.load_cert_chain(end.cert_file, end.key_file)
    return context
