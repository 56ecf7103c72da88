"""The MES of the delivery test: orders, jobs, states, corrections, withdrawals, shipments over MQTT and REST, until confirmed.

What it sent is a list of its own. Half goes over MQTT with ids, half over REST under idempotency keys, and what is already
confirmed there is now and then sent once more.
"""

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import msgspec
from delivery_meters import ORIGIN_MS
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from plantprint.times import HOUR_MS, SiteClock, format_instant
from plantprint.wire import messages, topics

UNITS = 4
EVERY_HOURS = 2
SOURCE = "mes"
_MINUTE_MS = 60_000
_CONFIRM_S = 1.0
_FINISH_S_MAX = 40.0


@dataclass(frozen=True, slots=True)
class Event:
    """`late_ms`: so long after its instant it is sent; without an id it goes over REST, under its key."""

    kind: Any
    at_ms: int
    body: dict[str, Any]
    event_id: str = ""
    revision: int = 0
    late_ms: int = 0
    key: str = ""

    @property
    def row(self) -> tuple[Any, ...]:
        return SOURCE, self.event_id, self.revision, self.kind, self.at_ms, self.body

    def message(self) -> messages.EventMessage:
        at = format_instant(self.at_ms)
        return messages.EventMessage(
            kind=self.kind, at=at, body=self.body, event_id=self.event_id, revision=self.revision, source=SOURCE
        )


def script(hour: int) -> Iterator[Event]:
    """One site hour of four work units: a fault in each, one end corrected, one job withdrawn, one batch shipped."""
    start_ms = ORIGIN_MS + hour * HOUR_MS
    for unit in range(UNITS):
        name = f"{hour}.{unit}"

        def at(minute: int) -> int:
            return start_ms + minute * _MINUTE_MS

        batch, job = {"batch": f"b{name}"}, {"job": f"j{name}"}
        machine = {"work_unit": f"u{unit}"}
        yield Event("order", at(0), {**batch, "product": "twill", "quantity": 10, "unit": "kg"}, key=f"o{name}")
        yield Event("job_start", at(5 + unit), {**job, **batch, **machine}, f"{name}.start")
        yield Event("state", at(20), {**machine, "state": "fault"}, key=f"f{name}")
        yield Event("state", at(25), {**machine, "state": "processing"}, key=f"p{name}")
        # The first machine's ends are heard of after their hour has settled.
        yield Event("job_end", at(50), job, f"{name}.end", late_ms=HOUR_MS if unit == 0 else 0)
        if unit == 1:
            yield Event("job_end", at(55), job, f"{name}.end", revision=1, late_ms=30 * _MINUTE_MS)
        if unit == 2:
            yield Event("job_start", at(52), {"job": f"x{name}", "batch": f"x{name}", **machine}, f"{name}.wrong")
            yield Event("withdraw", at(53), {"event_id": f"{name}.wrong"}, key=f"w{name}", late_ms=45 * _MINUTE_MS)
        if unit == 3:
            yield Event(
                "shipment", at(58), {"shipment": f"s{name}", **batch, "quantity": 10, "unit": "kg"}, f"{name}.out"
            )


class Mes:
    """Sends from threads of its own while the block lasts, and after `finish` what is still due; `sent` is confirmed."""

    def __init__(self, broker_url: str, api_url: str, site: str, clock: SiteClock) -> None:
        self.sent: list[Event] = []
        self.repeats = 0
        self._site, self._clock = site, clock
        self._hours: int | None = None
        self._acks: queue.SimpleQueue[messages.EventAck] = queue.SimpleQueue()
        self._over = threading.Event()
        self._failures: list[BaseException] = []
        self._api = httpx.Client(base_url=api_url, timeout=5)
        client = self._client = paho.Client(CallbackAPIVersion.VERSION2, f"mes-{site}", protocol=paho.MQTTv5)
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda c, *_: c.subscribe(topics.production_ack(site, SOURCE), 1)
        client.on_message = lambda _c, _d, m: self._acks.put(msgspec.json.decode(m.payload, type=messages.EventAck))
        url = urlsplit(broker_url)
        assert url.hostname is not None
        client.connect(url.hostname, url.port or 1883)
        client.loop_start()
        ways = {"mqtt": self._over_mqtt, "rest": self._over_rest}
        self._threads = [threading.Thread(target=self._run, args=way, name=way[0], daemon=True) for way in ways.items()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._client.disconnect()
        self._client.loop_stop()
        self._api.close()

    def finish(self, hours: int) -> None:
        """Returns once everything of so many site hours is confirmed; later ones are not begun."""
        self._hours = hours
        deadline_s = time.monotonic() + _FINISH_S_MAX
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            assert not thread.is_alive(), f"{thread.name}: not everything is confirmed; last: {self.sent[-1:]}"
        assert not self._failures, self._failures

    def _run(self, way: str, send: Any) -> None:
        try:
            for event in self._due(way):
                self.sent.append(send(event))
        except BaseException as error:  # noqa: BLE001 - told by `finish`, in the test's own thread
            self._failures.append(error)

    def _due(self, way: str) -> Iterator[Event]:
        """What goes this way, each when the site's clock has reached it; after `finish` at once."""
        waiting: list[Event] = []
        hour = 0
        while not self._over.is_set():
            now_ms = self._clock.now_ms(time.time_ns() // 1_000_000, None)
            while ORIGIN_MS + hour * HOUR_MS <= now_ms and (self._hours is None or hour < self._hours):
                waiting += [event for event in script(hour) if (way == "mqtt") == bool(event.event_id)]
                waiting.sort(key=lambda event: event.at_ms + event.late_ms)
                hour += EVERY_HOURS
            if waiting and (self._hours is not None or waiting[0].at_ms + waiting[0].late_ms <= now_ms):
                event = waiting.pop(0)
                if self._hours is None or event.at_ms < ORIGIN_MS + self._hours * HOUR_MS:
                    yield event
            elif self._hours is not None:
                return
            else:
                time.sleep(0.02)

    def _over_mqtt(self, event: Event) -> Event:
        wanted = event.event_id, event.revision
        while not self._over.is_set():
            if self._client.is_connected():
                self._client.publish(topics.production(self._site, SOURCE), messages.encode(event.message()), qos=1)
            until_s = time.monotonic() + _CONFIRM_S
            while (left_s := until_s - time.monotonic()) > 0:
                try:
                    ack = self._acks.get(timeout=left_s)
                except queue.Empty:
                    break
                assert ack.status != "rejected", ack
                if (ack.event_id, ack.revision) == wanted:
                    self.repeats += ack.status == "known"
                    return event
        raise TimeoutError(f"not confirmed: {event}")

    def _over_rest(self, event: Event) -> Event:
        """Every third is sent once more, as by somebody who never heard the answer."""
        first = self._post(event)
        if len(self.sent) % 3 == 0:
            assert self._post(event) == first, "an event got another id when it was sent again"
        return replace(event, event_id=first)

    def _post(self, event: Event) -> str:
        while not self._over.is_set():
            try:
                answer = self._api.post(
                    "/v1/production-events",
                    params={"site": self._site},
                    content=messages.encode(event.message()),
                    headers={"Content-Type": "application/json", "Idempotency-Key": event.key},
                )
            except httpx.HTTPError:
                time.sleep(0.1)
                continue
            if answer.status_code >= 500:
                time.sleep(0.1)
                continue
            assert answer.status_code in (200, 202), answer.text
            (confirmation,) = answer.json()["confirmations"]
            self.repeats += confirmation["status"] == "known"
            return str(confirmation["event_id"])
        raise TimeoutError(f"not confirmed: {event}")
