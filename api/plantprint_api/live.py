"""The live hub: one listener per process reads live rows, encodes each change once, and offers it to every stream."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection

from plantprint_api import database, metrics
from plantprint_api.config import ApiSettings
from plantprint_api.database import Row
from plantprint_api.problems import ProblemError
from plantprint_api.rows import alert_json

log = structlog.get_logger()

CHANNEL = "plantprint_live"
KINDS = ("plant", "work_center", "batch", "trend", "alert")
RECONNECT_S = 0.2

Key = tuple[str, str, str]
"""(site, kind, id)"""
Stamps = dict[Key, datetime]
"""When each live row was last written, which tells whether it changed."""


@dataclass(eq=False)
class Client:
    """One open stream: a single slot per key that always holds the latest frame, never a queue."""

    wants: Callable[[Key], bool]
    pending: dict[Key, bytes] = field(default_factory=dict)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, key: Key, frame: bytes) -> None:
        if not self.wants(key):
            return
        if key in self.pending:
            metrics.STREAM_OVERWRITTEN.inc()
        self.pending[key] = frame
        self.wake.set()

    def take(self) -> bytes:
        """Everything pending as one piece of the stream; empty when there is nothing."""
        frames, self.pending = self.pending, {}
        self.wake.clear()
        metrics.STREAM_SENT.inc(len(frames))
        return b"".join(frames.values())


class LiveHub:
    """Holds the newest frame of every live row and alert; `run` keeps it up to date until `close`."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._epoch = uuid.uuid4().hex[:8]
        self._revision = 0
        self._stamps: Stamps = {}
        self._alerts: dict[Key, bytes] = {}
        self._frames: dict[Key, bytes] = {}
        self._clients: set[Client] = set()
        self._plant_changed_s: dict[str, float] = {}
        self.closing = asyncio.Event()
        self.failed = False

    def plant_ages_s(self) -> dict[str, float]:
        """Seconds since each site's plant row last changed here: the pulse of its accountant."""
        now_s = time.monotonic()
        return {site: now_s - changed_s for site, changed_s in self._plant_changed_s.items()}

    def subscribe(self, wants: Callable[[Key], bool]) -> Client:
        """A client whose slots hold the present picture; raises a problem when there are too many or at shutdown."""
        if self.closing.is_set() or len(self._clients) >= self._settings.stream_clients_max:
            metrics.STREAM_REFUSED.inc()
            raise ProblemError(
                503,
                "Too many streams",
                f"{len(self._clients)} of {self._settings.stream_clients_max} event streams are open",
                place="setting: PLANTPRINT_STREAM_CLIENTS_MAX",
                remedy="close pages that nobody looks at, raise the setting, or add an api replica",
                headers={"Retry-After": "10"},
            )
        client = Client(wants)
        for key, frame in self._frames.items():
            client.offer(key, frame)
        self._clients.add(client)
        metrics.STREAM_CLIENTS.set(len(self._clients))
        return client

    def unsubscribe(self, client: Client) -> None:
        self._clients.discard(client)
        metrics.STREAM_CLIENTS.set(len(self._clients))

    def close(self) -> None:
        """Ends every stream and `run`."""
        self.closing.set()
        for client in self._clients:
            client.wake.set()

    async def run(self) -> None:
        """Listens, reads, reconnects; ends soon after `close`."""
        listening = asyncio.create_task(self._listen_forever(), name="live listener")
        closing = asyncio.create_task(self.closing.wait(), name="live hub closing")
        try:
            await asyncio.wait({listening, closing}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                self.failed = True
                listening.result()  # it never returns: this raises the bug that ended it
        finally:
            for task in (listening, closing):
                task.cancel()
            await asyncio.gather(listening, closing, return_exceptions=True)

    async def _listen_forever(self) -> None:
        pause_s = RECONNECT_S
        while True:
            try:
                async with await database.connect(self._settings) as connection:
                    await connection.execute(f"listen {CHANNEL}")
                    log.info("live listener connected")
                    while True:
                        await self._pass(connection)
                        pause_s = RECONNECT_S
                        await self._wait(connection)
            except psycopg.Error as error:
                metrics.LIVE_ERRORS.inc()
                log.warning(
                    "live listener lost the database",
                    error=type(error).__name__,
                    remedy="it reconnects by itself; if this repeats, see the database's log",
                    pause_s=pause_s,
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._settings.live_reconnect_s_max)

    async def _wait(self, connection: AsyncConnection[Row]) -> None:
        await asyncio.sleep(self._settings.live_interval_ms_min / 1000)
        notices = connection.notifies(timeout=self._settings.live_reread_s, stop_after=1)
        async with contextlib.aclosing(notices):
            async for _ in notices:
                pass

    async def _pass(self, connection: AsyncConnection[Row]) -> None:
        started_s = time.perf_counter()
        known = list(self._stamps.items())
        live = await database.rows(
            connection,
            "live_changes",
            sites=[key[0] for key, _ in known],
            kinds=[key[1] for key, _ in known],
            ids=[key[2] for key, _ in known],
            stamps=[stamp for _, stamp in known],
        )
        alerts = await database.rows(connection, "alert_changes", known=[key[2] for key in self._alerts])
        self._take_live(live)
        self._take_alerts(alerts)
        metrics.LIVE_PASS_S.observe(time.perf_counter() - started_s)

    def _take_live(self, live: Iterable[Row]) -> None:
        now_s = time.monotonic()
        present: Stamps = {}
        for row in live:
            key = (row["site"], row["kind"], row["id"])
            present[key] = row["updated_at"]
            if row["body"] is None:
                continue
            if key[1] == "plant":
                self._plant_changed_s[key[0]] = now_s
            self._publish(key, _splice(key, row["body"]))
        for key in self._stamps.keys() - present.keys():
            if key[1] == "plant":
                del self._plant_changed_s[key[0]]
            # Slots of clients still learn that the row is gone; newcomers never hear of it.
            self._publish(key, orjson.dumps({"site": key[0], "id": key[2], "ended": True}))
            del self._frames[key]
        self._stamps = present

    def _take_alerts(self, alerts: Iterable[Row]) -> None:
        under_way: dict[Key, bytes] = {}
        for row in alerts:
            key = (row["site"], "alert", row["id"])
            body = orjson.dumps(alert_json(row))
            if self._alerts.get(key) != body:
                self._publish(key, body)
            if row["state"] == "resolved":
                del self._frames[key]
            else:
                under_way[key] = body
        self._alerts = under_way

    def _publish(self, key: Key, body: bytes) -> None:
        self._revision += 1
        head = f"event: {key[1]}\nid: {self._epoch}-{self._revision}\ndata: ".encode()
        frame = head + body + b"\n\n"
        self._frames[key] = frame
        for client in self._clients:
            client.offer(key, frame)


def _splice(key: Key, body: str) -> bytes:
    """The body with site and id put first, without parsing it again: jsonb text is an object on one line."""
    head = orjson.dumps({"site": key[0], "id": key[2]})[:-1]
    rest = body[1:].strip()
    return head + (b"," if rest != "}" else b"") + rest.encode()


def selection(sites: set[str], kinds: set[str], ids: set[str]) -> Callable[[Key], bool]:
    """What a client asked for; an empty set is no restriction."""

    def wants(key: Key) -> bool:
        site, kind, name = key
        return (not sites or site in sites) and (not kinds or kind in kinds) and (not ids or name in ids)

    return wants
