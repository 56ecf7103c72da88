"""From topic and payload to rows: which rule reads a message, which channel its values fill, what is refused and why."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import structlog

from plantprint.facts import Quality
from plantprint.quantities import UnitError
from plantprint.times import format_instant
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config.mqtt import MqttSource, MqttValue
from plantprint_edge.payloads import Decoded, Found, Limits, PayloadError
from plantprint_edge.payloads.mapped import Arrival, decode
from plantprint_edge.payloads.numbers import at_decimals, unit_factor
from plantprint_edge.payloads.sparkplug_nodes import ALIAS, SEQUENCE, Life, Nodes
from plantprint_edge.sources import SourceCounts
from plantprint_edge.sources.mqtt_streams import Stream, Target, stranger, streams_of

log = structlog.get_logger(__name__)

# A device without a set clock says 1970 or the date of its firmware; no plant here is older than this.
EARLIEST_MS = 946_684_800_000
# A clock of ours that says less has not been set and judges nobody.
OUR_EARLIEST_MS = 1_735_689_600_000
TIME_MS_MAX = 10**15
ROUTES_KEPT = 4096
OTHERS = "(others)"


class RefusedError(ValueError):
    """A value that is refused; `reason` is what it is counted under."""

    def __init__(self, reason: str, text: str) -> None:
        self.reason = reason
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Route:
    """A stream that reads a topic, the names in it, and who speaks there when that is nobody declared."""

    stream: Stream
    names: dict[str, str]
    stranger: str | None


class Router:
    """All streams of a source; `read` turns a message into rows and counts everything that does not become one."""

    def __init__(self, source: MqttSource, first_index: int, counts: SourceCounts, clock: Clock) -> None:
        self.streams = streams_of(source, first_index)
        self._source = source
        self._counts = counts
        self._clock = clock
        self._limits = Limits(source.payload_bytes_max, source.depth_max, source.values_max)
        self._routes: dict[str, list[Route]] = {}
        asking = [(s.nodes, s.entry) for s in self.streams if s.nodes and s.entry and s.entry.request_birth]
        self._asking = {id(nodes): (nodes, entry.request_birth_s) for nodes, entry in asking}.values()
        # The first of each kind, in words.
        self.refused: dict[str, str] = {}

    def filters(self) -> dict[str, int]:
        """What to subscribe to, with the quality of service of each."""
        filters: dict[str, int] = {}
        for stream in self.streams:
            filters[stream.pattern.filter] = max(stream.qos, filters.get(stream.pattern.filter, 0))
        return filters

    def route(self, topic: str) -> list[Route]:
        """The streams that read this topic."""
        if topic not in self._routes:
            if len(self._routes) >= ROUTES_KEPT:
                self._routes.clear()
            matches = ((stream, stream.name(topic)) for stream in self.streams)
            self._routes[topic] = [Route(s, names, stranger(s, names)) for s, names in matches if names is not None]
        return self._routes[topic]

    def read(self, topic: str, payload: bytes, *, retained: bool) -> list[Row]:
        """The rows of a message; never raises, whatever a device sends."""
        now_ms = self._clock.now_ms()
        rows: list[Row] = []
        for route in self.route(topic):
            stream = route.stream
            if route.stranger is not None:
                self.undeclared(route.stranger)
                continue
            try:
                decoded = self._decode(stream, route.names, payload, now_ms)
            except PayloadError as error:
                self.refuse("payload", topic, str(error))
                continue
            rows += self._rows(stream, topic, decoded, now_ms, retained=retained)
        self._counts.readings += len(rows)
        return rows

    def _decode(self, stream: Stream, names: dict[str, str], payload: bytes, now_ms: int) -> Decoded:
        if stream.nodes is not None:
            return stream.nodes.take(names, payload, self._limits)
        return decode(
            stream.rule, names, payload, Arrival(now_ms, stream.zone, self._limits, timed=not stream.by_arrival)
        )

    def _rows(self, stream: Stream, topic: str, decoded: Decoded, now_ms: int, *, retained: bool) -> Iterator[Row]:
        for who, what, why in decoded.ignored:
            if reason := _reason(stream, who, what):
                self.refuse(reason, topic, f"{what}: {why}")
        for who in decoded.undeclared:
            self.undeclared(who)
        for found in decoded.found:
            target = stream.targets.get((found.device, found.name))
            if target is None:
                if found.device not in stream.devices:
                    self.undeclared(found.device)
                continue
            stream.alive.add(found.device)
            try:
                row = self._row(stream, target, found, now_ms, retained=retained)
            except RefusedError as issue:
                self.refuse(issue.reason, topic, f"{target.channel.name}: {issue}")
                continue
            if row is not None:
                yield row
        if stream.strict:
            known = {found.name for found in decoded.found} | {what for _, what, _ in decoded.ignored}
            self._counts.missing += sum(name not in known for _, name in stream.targets)
        yield from self._died(stream, decoded, now_ms)

    def _row(self, stream: Stream, target: Target, found: Found, now_ms: int, *, retained: bool) -> Row | None:
        channel = target.channel
        arrives = stream.by_arrival or found.t_ms is None
        if retained and arrives:
            raise RefusedError("retained", "a kept value without a time may be of any age")
        if found.number is None or found.number in channel.missing:
            self._counts.missing += 1
            return None
        t_ms = now_ms if arrives or found.t_ms is None else found.t_ms
        self._check_time(t_ms, now_ms)
        value = value_of(found, channel)
        if not found.historical and (target.last is None or t_ms >= target.last[0]):
            target.last = (t_ms, value)
            self._counts.last_good_ms = max(t_ms, self._counts.last_good_ms or t_ms)
        return (target.index, t_ms, value, Quality.MEASURED)

    def _check_time(self, t_ms: int, now_ms: int) -> None:
        site = self._clock.site
        ahead_ms = self._source.future_s_max * 1000 * (site.speed if site.kind == "run" else 1)
        judges = site.kind != "data" and now_ms >= OUR_EARLIEST_MS
        if not EARLIEST_MS <= t_ms < TIME_MS_MAX or (judges and t_ms > now_ms + ahead_ms):
            raise RefusedError("time", f"{_instant(t_ms)} is impossible; set the device's clock, or use time: arrival")

    def _died(self, stream: Stream, decoded: Decoded, now_ms: int) -> Iterator[Row]:
        """A last word for the channels of devices that are gone: their last value, marked as missing from now on."""
        for who in decoded.dead:
            if who in stream.alive:
                stream.alive.discard(who)
                self._counts.errors["device gone"] += 1
                for (device, _), target in stream.targets.items():
                    if device == who and target.last is not None:
                        self._counts.missing += 1
                        yield (target.index, max(now_ms, target.last[0] + 1), target.last[1], Quality.MISSING)
                        target.last = None

    def held(self) -> list[Row]:
        """Values of living Sparkplug devices that were not sent for `hold_s`, because they did not change."""
        now_ms = self._clock.now_ms()
        rows: list[Row] = []
        for entry in {id(stream.entry): stream for stream in self.streams if stream.hold_ms}.values():
            for (device, _), target in entry.targets.items():
                if device in entry.alive and target.last and now_ms - target.last[0] >= entry.hold_ms:
                    target.last = (now_ms, target.last[1])
                    rows.append((target.index, now_ms, target.last[1], Quality.RECOVERED))
        self._counts.readings += len(rows)
        return rows

    def hold_pause_s(self) -> float | None:
        """How often `held` has something to say, None for never."""
        holds = [stream.hold_ms for stream in self.streams if stream.hold_ms]
        return min(holds) / 1000 if holds else None

    def births_to_ask(self) -> list[tuple[str, float]]:
        """Nodes (`group/node`) that may be asked for their birth and need to be, with the pause between two times."""
        return [(name, pause_s) for nodes, pause_s in self._asking for name in nodes.wants_birth]

    @property
    def births_changed(self) -> int:
        """Grows whenever `lives` become others."""
        return sum(nodes.changes for nodes in self._nodes())

    def lives(self) -> dict[str, Life]:
        """What is known of Sparkplug nodes, for a restart."""
        lives: dict[str, Life] = {}
        for nodes in self._nodes():
            for name, life in nodes.lives().items():
                known = lives.get(name)
                lives[name] = Life(life.bdseq, {**known.births, **life.births}) if known else life
        return lives

    def recall(self, lives: Mapping[str, Life]) -> None:
        """Go on with what was known before a restart."""
        for nodes in self._nodes():
            nodes.recall(lives)

    def _nodes(self) -> Iterable[Nodes]:
        return {id(stream.nodes): stream.nodes for stream in self.streams if stream.nodes is not None}.values()

    def forget_births(self) -> None:
        """The broker kept nothing for us: what Sparkplug nodes said of themselves may no longer hold."""
        for nodes in self._nodes():
            nodes.forget()

    def lost_sight(self) -> None:
        """The broker is away: who is alive is not known until each speaks again."""
        for stream in self.streams:
            stream.alive.clear()

    def refuse(self, reason: str, topic: str, text: str) -> None:
        """Count what was refused, and tell of the first of its kind."""
        self._counts.errors[reason] += 1
        if reason not in self.refused:
            self.refused[reason] = text[:300]
            remedy = "try it with `plantprint edge try-payload`; further ones are only counted"
            log.warning(
                "payload_refused",
                source=self._source.name,
                topic=topic[:200],
                reason=text[:300],
                kind=reason,
                remedy=remedy,
            )

    def undeclared(self, who: str) -> None:
        """Count a device that no channel names."""
        known = self._counts.undeclared
        who = who[:200]
        if who not in known and len(known) >= self._source.undeclared_max:
            who = OTHERS
        elif who not in known:
            remedy = "declare its values as channels, or leave it; it is listed in the status"
            log.info("undeclared_device", source=self._source.name, device=who, remedy=remedy)
        known[who] += 1


def value_of(found: Found, channel: MqttValue) -> int:
    """The channel's integer for a found number; raises `RefusedError`."""
    assert found.number is not None, "asked only for values that are there"
    try:
        unit = channel.device_unit or found.unit or channel.unit
        factor = found.factor * channel.scale * unit_factor(unit, channel.unit)
        value = at_decimals(found.number, factor, channel.decimals)
    except PayloadError as error:
        raise RefusedError("value", str(error)) from error
    except UnitError as error:
        raise RefusedError("unit", str(error)) from error
    step = 10**channel.decimals
    if channel.value_min is not None and value < channel.value_min * step:
        raise RefusedError("range", f"{found.number} is below value_min {channel.value_min}")
    if channel.value_max is not None and value > channel.value_max * step:
        raise RefusedError("range", f"{found.number} is above value_max {channel.value_max}")
    return value


def _instant(t_ms: int) -> str:
    return format_instant(t_ms) if 0 <= t_ms < 10**14 else f"{t_ms} ms from 1970 on"


def _reason(stream: Stream, who: str, what: str) -> str:
    """Under which heading something ignored is counted; "" for what nobody asked for."""
    if (who, what) in stream.targets:
        return "value"
    if stream.nodes is not None and what == SEQUENCE:
        return "sequence"
    return "no birth" if stream.nodes is not None and what.startswith(ALIAS) and who in stream.devices else ""
