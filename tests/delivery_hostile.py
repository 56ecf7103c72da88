"""Somebody on the broker who hears every chunk of a site and sends it again: doubled, late, cut, spoilt, under other names."""

import random
import threading
import time
from collections import Counter, deque
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from plantprint.wire import CHUNK_BYTES_MAX, topics

Heard = tuple[str, bytes, list[tuple[str, str]]]
_PER_S = 100
_REMEMBERS = 500


class Hostile:
    """Sends from its own thread while the block lasts; `sent` counts by kind.

    What it cannot do is what the broker's access list forbids: invent intact chunks of an agent.
    """

    KINDS = (
        "again",
        "late",
        "cut",
        "flipped",
        "oversized",
        "version",
        "other agent",
        "contradicted",
        "garbage",
        "state",
    )

    def __init__(self, broker_url: str, site: str, draw: random.Random) -> None:
        self.sent: Counter[str] = Counter()
        self._site, self._draw = site, draw
        self._heard: deque[Heard] = deque(maxlen=_REMEMBERS)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hostile", daemon=True)
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, f"hostile-{site}", protocol=paho.MQTTv5)
        client.reconnect_delay_set(1, 1)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        url = urlsplit(broker_url)
        assert url.hostname is not None
        client.connect(url.hostname, url.port or 1883)
        client.loop_start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(5)
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(topics.up_filter(site=self._site), SubscribeOptions(qos=0, noLocal=True))])

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        names = list(getattr(message.properties, "UserProperty", ()))
        self._heard.append((message.topic, bytes(message.payload), names))

    def _run(self) -> None:
        while not self._stop.is_set():
            time.sleep(1 / _PER_S)
            if self._heard and self._client.is_connected():
                kind = self._draw.choice(self.KINDS)
                self._publish(*self._spoilt(kind))
                self.sent[kind] += 1

    def _spoilt(self, kind: str) -> Heard:
        draw = self._draw
        topic, payload, names = self._heard[0] if kind == "late" else self._heard[-1]
        lane = topic.rpartition("/")[0] + draw.choice(["/live", "/fill"])
        place = draw.randrange(len(payload))
        match kind:
            case "cut":
                return topic, payload[:place], names
            case "flipped":
                spoilt = bytes([payload[place] ^ 1 << draw.randrange(8)])
                # Half of them as behind a bridge that strips properties, so that nothing but the chunk itself can tell.
                return topic, payload[:place] + spoilt + payload[place + 1 :], draw.choice([names, []])
            case "oversized":
                return topic, payload + b" " * CHUNK_BYTES_MAX, names
            case "version":
                return topic, payload.replace(b'"v":3', b'"v":9', 1), []
            case "other agent":
                return topics.up(self._site, "gw-9", "live"), payload, names
            case "contradicted":
                return topic, payload, [(name, f"{value}7") for name, value in names]
            case "garbage":
                return topic, draw.randbytes(draw.randrange(2000)), []
            case "state":
                return topics.state(self._site, "gw-1"), payload[:place], []
        return lane, payload, names

    def _publish(self, topic: str, payload: bytes, names: list[tuple[str, str]]) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.UserProperty = names
        self._client.publish(topic, payload, qos=0, properties=properties)
