"""Devices that publish JSON over MQTT. A message is acknowledged to its broker once its readings are on our disk.

aiomqtt acknowledges on arrival; the one private attribute used here (`_client`) switches that off. A message that an
agent took and could not store before it died is then delivered again.
"""

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import aiomqtt
import paho.mqtt.client as paho
import structlog
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from plantprint.facts import Quality
from plantprint.quantities import INT64_MAX, round_half_even
from plantprint.times import parse_instant
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Backoff, Clock
from plantprint_edge.config import Broker, MqttChannel, MqttSource, MqttTopic
from plantprint_edge.endpoint import Endpoint, resolve
from plantprint_edge.sources import Intake, SourceCounts

log = structlog.get_logger(__name__)

# Numbers from here on are milliseconds since 1970, below they are seconds.
MS_FROM = 100_000_000_000
_Ack = tuple[int, int, list[asyncio.Future[bool]]]


class PayloadError(ValueError):
    """A message that does not hold what its mapping promises."""


class MqttReader:
    """Subscribes to the topics of one source and turns their messages into readings."""

    def __init__(
        self,
        source: MqttSource,
        first_index: int,
        intake: Intake,
        clock: Clock,
        *,
        client_id: str,
        broker: Broker,
        environ: Mapping[str, str],
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
        self._first_index = {}
        for topic in source.topics:
            self._first_index[topic.topic] = first_index
            first_index += len(topic.channels)
        self._topics = {topic.topic: topic for topic in source.topics}

    async def run(self) -> None:
        """Listen until cancelled, connecting again whenever the broker goes away."""
        while True:
            try:
                async with self._connect(resolve(self._broker, self._environ)) as client:
                    await self._listen(client)
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self.counts.errors["connection"] += 1
                log.warning(
                    "mqtt_source_lost", source=self._source.name, reason=str(error), remedy="it is connected again"
                )
            await asyncio.sleep(self._backoff.next_s())

    def _connect(self, end: Endpoint) -> aiomqtt.Client:
        five = self._source.version == "5"
        expiry = None
        if five:
            expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            expiry.SessionExpiryInterval = self._source.session_expiry_s
        client = aiomqtt.Client(
            end.host,
            end.port,
            username=end.username,
            password=end.password,
            identifier=self._client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311,
            clean_session=None if five else False,
            clean_start=False if five else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=expiry,
            keepalive=end.keepalive_s,
            timeout=end.connect_timeout_s,
            tls_context=_tls(end) if end.tls else None,
        )
        client._client.manual_ack_set(True)  # noqa: SLF001 - no public way in aiomqtt 2
        return client

    async def _listen(self, client: aiomqtt.Client) -> None:
        # What a kept session holds comes at once, and iotcore answers nothing while 100 messages wait to be acknowledged.
        reading = asyncio.create_task(self._take_all(client), name=f"{self._source.name} messages")
        try:
            await self._subscribe(client)
            await reading
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        for topic in self._topics:
            granted = await client.subscribe(topic, qos=1)
            if any(_refused(code) for code in granted):
                self.counts.errors["subscription"] += 1
                remedy = "check the topic and the broker's ACL for this agent"
                log.error("subscription_refused", source=self._source.name, topic=topic, remedy=remedy)
        self._backoff.reset()
        self.connections += 1
        log.info("mqtt_source_connected", source=self._source.name, topics=len(self._topics))

    async def _take_all(self, client: aiomqtt.Client) -> None:
        acks: asyncio.Queue[_Ack] = asyncio.Queue()
        acker = asyncio.create_task(_acknowledge(client, acks), name=f"{self._source.name} acks")
        try:
            async for message in client.messages:
                await acks.put((message.mid, message.qos, await self._take(client, message)))
        finally:
            acker.cancel()
            with suppress(asyncio.CancelledError):
                await acker

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> list[asyncio.Future[bool]]:
        self.counts.polls += 1
        topic = self._topics.get(str(message.topic))
        if topic is None:
            # The broker remembers what an earlier configuration subscribed to.
            self.counts.errors["former topic"] += 1
            await client.unsubscribe(str(message.topic))
            return []
        try:
            rows = self._read(topic, bytes(message.payload or b""), retained=bool(message.retain))
        except PayloadError as error:
            self.counts.errors["payload"] += 1
            if self.counts.errors["payload"] == 1:
                remedy = "compare the device's messages with the mapping in agent.yaml; further ones are only counted"
                log.warning(
                    "payload_refused", source=self._source.name, topic=topic.topic, reason=str(error), remedy=remedy
                )
            return []
        return await self._intake.put(rows) if rows else []

    def _read(self, topic: MqttTopic, payload: bytes, *, retained: bool) -> list[Row]:
        if len(payload) > self._source.payload_bytes_max:
            raise PayloadError(f"{len(payload)} bytes exceed payload_bytes_max {self._source.payload_bytes_max}")
        if retained and topic.time is None:
            self.counts.errors["retained"] += 1
            return []
        body = parse_payload(payload)
        t_ms = self._clock.now_ms() if topic.time is None else read_time(topic, body)
        rows: list[Row] = []
        for index, channel in enumerate(topic.channels, self._first_index[topic.topic]):
            value = read_value(channel, body)
            if value is None:
                self.counts.missing += 1
            else:
                rows.append((index, t_ms, value, Quality.MEASURED))
        self.counts.readings += len(rows)
        self.counts.last_good_ms = t_ms
        return rows


async def _acknowledge(client: aiomqtt.Client, acks: "asyncio.Queue[_Ack]") -> None:
    """Acknowledge in order of arrival, as MQTT demands, each message after its chunks."""
    while True:
        mid, qos, chunks = await acks.get()
        if chunks:
            await asyncio.wait(chunks)
        if qos:
            client._client.ack(mid, qos)  # noqa: SLF001 - see the module's first lines


def _refused(code: int | ReasonCode) -> bool:
    return (code if isinstance(code, int) else code.value) >= 0x80


def _tls(end: Endpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=end.ca_file)
    if end.cert_file:
        context.load_cert_chain(end.cert_file, end.key_file)
    return context


def parse_payload(payload: bytes) -> Any:
    """JSON with exact decimals; raises `PayloadError`."""
    try:
        return json.loads(payload, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"not readable as JSON: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise PayloadError(f"{name} is no JSON")


def find(body: Any, path: str) -> Any:
    """What stands at a path of keys and positions, such as `items.0.value`; None where nothing does."""
    for part in path.split("."):
        if isinstance(body, list) and part.isdecimal() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict):
            body = body.get(part)
        else:
            return None
    return body


def read_value(channel: MqttChannel, body: Any) -> int | None:
    """The channel's value at its decimals, rounded half to even; None where it is absent or null."""
    found = find(body, channel.value)
    if found is None:
        return None
    number = _number(found, channel.value)
    if number.adjusted() < -30:
        return 0
    numerator, denominator = number.as_integer_ratio()
    value = round_half_even(numerator * 10**channel.decimals, denominator)
    if abs(value) > INT64_MAX:
        raise PayloadError(f"{channel.value}: {number} is too large")
    return value


def read_time(topic: MqttTopic, body: Any) -> int:
    """The message's instant in milliseconds since 1970 UTC; raises `PayloadError`."""
    assert topic.time is not None, "asked only for topics with a time"
    found = find(body, topic.time)
    if found is None:
        raise PayloadError(f"no time at {topic.time!r}")
    if isinstance(found, str) and topic.time_format in ("auto", "rfc3339"):
        try:
            return parse_instant(found)
        except ValueError as error:
            raise PayloadError(f"{topic.time}: {error}") from error
    number = _number(found, topic.time)
    if topic.time_format == "rfc3339" or not 0 <= number < 10**15:
        raise PayloadError(f"{topic.time}: {found!r} is no time of the format {topic.time_format}")
    is_ms = number >= MS_FROM if topic.time_format == "auto" else topic.time_format == "ms"
    return int(number if is_ms else number * 1000)


def _number(found: Any, path: str) -> Decimal:
    if isinstance(found, (int, Decimal, str)) and not isinstance(found, bool):
        try:
            number = Decimal(found)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and number.adjusted() <= 30:
            return number
    raise PayloadError(f"{path}: {str(found)[:40]!r} is not a number")
