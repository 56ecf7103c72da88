"""The plant's MES: sends production events until the collector confirms each of them, in order and across restarts.

`Outlet` holds what is under way and knows no network; `publish_events` moves it over MQTT. Events come from the
schedule, so nothing is lost when many wait: only a window of them is in memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import aiomqtt
import msgspec
import structlog

from plantprint.facts import ProductionEvent
from plantprint.wire import messages, topics
from plantprint_simulators.schedule import LONGEST_BATCH_S, SOURCE, Schedule

log = structlog.get_logger(__name__)

LOOK_AHEAD_S = 600
POLL_S = 0.1
_ack_decoder = msgspec.json.Decoder(messages.EventAck)


@dataclass(slots=True)
class Counts:
    """What happened to events since the start of this process."""

    sent: int = 0
    resent: int = 0
    confirmed: int = 0
    rejected: int = 0
    skipped: int = 0


@dataclass(slots=True)
class _UnderWay:
    event: ProductionEvent
    due_s: float
    wait_s: float


@dataclass(slots=True)
class Outlet:
    """Events from `cursor_ms` on, at most `window` of them unconfirmed; waits double up to `confirm_max_s` seconds."""

    schedule: Schedule
    cursor_ms: int
    window: int
    confirm_s: float
    confirm_max_s: float
    ordered_from_s: int = 0
    counts: Counts = field(default_factory=Counts)
    _waiting: deque[ProductionEvent] = field(default_factory=deque)
    _under_way: dict[tuple[str, int], _UnderWay] = field(default_factory=dict)

    def skip_before(self, floor_s: int) -> None:
        """Gives up on batches ordered before `floor_s`: what a pause longer than the backlog leaves unreported."""
        if self.cursor_ms >= floor_s * 1000:
            return
        ahead_s = floor_s + LONGEST_BATCH_S
        for from_s in range(self.cursor_ms // 1000, ahead_s, LOOK_AHEAD_S):  # a piece at a time: it may be months
            to_s = min(from_s + LOOK_AHEAD_S, ahead_s)
            self.counts.skipped += len(self.schedule.events(from_s, to_s, self.ordered_from_s))
        self.counts.skipped -= len(self.schedule.events(floor_s, ahead_s, floor_s))
        self.cursor_ms, self.ordered_from_s = floor_s * 1000, floor_s

    def due(self, site_now_ms: int, now_s: float) -> list[ProductionEvent]:
        """What to send now: new events up to the window, and those whose confirmation is overdue."""
        self._fill(site_now_ms)
        late = [entry for entry in self._under_way.values() if entry.due_s <= now_s]
        for entry in late:
            entry.wait_s = min(entry.wait_s * 2, self.confirm_max_s)
            entry.due_s = now_s + entry.wait_s
        self.counts.resent += len(late)
        fresh: list[ProductionEvent] = []
        while self._waiting and len(self._under_way) < self.window:
            event = self._waiting.popleft()
            self._under_way[event.event_id, event.revision] = _UnderWay(event, now_s + self.confirm_s, self.confirm_s)
            fresh.append(event)
        self.counts.sent += len(fresh)
        return [entry.event for entry in late] + fresh

    def _fill(self, site_now_ms: int) -> None:
        happened_ms = site_now_ms // 1000 * 1000 + 1000
        while not self._waiting and self.cursor_ms < happened_ms:
            to_ms = min(happened_ms, self.cursor_ms + LOOK_AHEAD_S * 1000)
            self._waiting.extend(self.schedule.events(self.cursor_ms // 1000, to_ms // 1000, self.ordered_from_s))
            self.cursor_ms = to_ms

    def settle(self, ack: messages.EventAck) -> None:
        """Takes a confirmation; a rejection is final too, it is counted and logged with its reason."""
        if self._under_way.pop((ack.event_id, ack.revision), None) is None:
            return
        if ack.status == "rejected":
            self.counts.rejected += 1
            log.error("production event rejected", event_id=ack.event_id, reason=ack.message)
        else:
            self.counts.confirmed += 1

    @property
    def confirmed_ms(self) -> int:
        """Every event before this site instant is settled."""
        open_events = [*self._waiting, *(entry.event for entry in self._under_way.values())]
        return min((event.at_ms for event in open_events), default=self.cursor_ms)


async def publish_events(client: aiomqtt.Client, site: str, outlet: Outlet, site_now_ms: Callable[[], int]) -> None:
    """Sends and resends events over a connection until it is lost."""
    await client.subscribe(topics.production_ack(site, SOURCE), qos=1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_read_acks(client, outlet), name="mes acks")
        while True:
            for event in outlet.due(site_now_ms(), asyncio.get_running_loop().time()):
                message = messages.encode(messages.from_event(event))
                await client.publish(topics.production(site, SOURCE), message, qos=1)
            await asyncio.sleep(POLL_S)


async def _read_acks(client: aiomqtt.Client, outlet: Outlet) -> None:
    async for message in client.messages:
        if not isinstance(message.payload, bytes | bytearray):
            continue
        try:
            outlet.settle(_ack_decoder.decode(message.payload))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            log.warning("unreadable confirmation", error=str(error))
