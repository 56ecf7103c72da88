"""What happens inside one transaction of the intake, and what its senders may be told once it is committed."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from psycopg import Connection
from psycopg.types.json import Jsonb

from plantprint.facts import Issue, Quality
from plantprint.times import from_ms
from plantprint.wire import topics
from plantprint.wire.chunk import Gap, Row
from plantprint_collector import received, rows, store, watermarks
from plantprint_collector.channels import ChannelTables, Ids, TableKey
from plantprint_collector.inbox import Chunk, Event, Events, Fault, Foreign, Item, Rows, State, Table, Unreadable
from plantprint_collector.limits import Clocks, Limit, Limits
from plantprint_collector.quarantine import Letter, Quarantine, Rejected, insert_letters, insert_rejected
from plantprint_collector.readings import ReadingWriter, Written
from plantprint_collector.received import Ranges

Conn = Connection[tuple[Any, ...]]
EpochKey = tuple[str, str, str]


@dataclass(slots=True)
class Outcome:
    """`received` holds, per epoch of the batch, the ranges around its chunks; `held` is what its agents must keep.

    `without_model` are sites that have no plant model, each with a topic of what was stored for it.
    """

    revision: int = 0
    received: dict[EpochKey, Ranges] = field(default_factory=dict)
    confirmed: list[tuple[Event, Literal["stored", "known", "rejected"], str]] = field(default_factory=list)
    held: list[tuple[Item, str]] = field(default_factory=list)
    stored: list[Chunk] = field(default_factory=list)
    repeated_chunks: int = 0
    written: Written = field(default_factory=lambda: Written(0, 0, 0, staged=False))
    rejected: list[Rejected] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    event_statuses: list[str] = field(default_factory=list)
    without_model: dict[str, str] = field(default_factory=dict)

    def received_by_agent(self) -> dict[tuple[str, str], dict[str, Ranges]]:
        found: dict[tuple[str, str], dict[str, Ranges]] = {}
        for (site, agent, epoch), ranges in self.received.items():
            if ranges:
                found.setdefault((site, agent), {})[epoch] = ranges
        return found


class Transaction:
    """Runs within `conn.transaction()`: `store_chunks`, `store_others`, then `finish`."""

    def __init__(
        self,
        conn: Conn,
        clocks: Clocks,
        limits: Limits,
        tables: ChannelTables,
        quarantine: Quarantine,
        days_without_room: AbstractSet[int] = frozenset(),
    ) -> None:
        self.outcome = Outcome()
        self.declared: dict[TableKey, Ids] = {}
        self._conn = conn
        self._clocks = clocks
        self._limits = limits
        self._tables = tables
        self._quarantine = quarantine
        self._days_without_room = days_without_room
        self._parts: list[rows.Array] = []
        self._delivered: set[tuple[str, str]] = set()

    def store_chunks(self, fresh: Sequence[Chunk]) -> None:
        """Chunks that nobody has received; a table is declared before the readings that need it."""
        for chunk in fresh:
            if isinstance(chunk.content, Table):
                key = (chunk.header.site, chunk.header.agent, chunk.content.hash)
                self.declared[key] = self._tables.declare(self._conn, *key[:2], chunk.content)
                self.outcome.stored.append(chunk)
        needed = {_table_key(chunk) for chunk in fresh if isinstance(chunk.content, Rows)} - self.declared.keys()
        tables = self._tables.find(self._conn, needed) | self.declared
        for chunk in fresh:
            match chunk.content:
                case Rows():
                    why_held = self._rows(chunk, chunk.content, tables.get(_table_key(chunk)))
                case Events():
                    why_held = self._events(chunk, chunk.content)
                case Gap():
                    why_held = self._gap(chunk, chunk.content)
                case Fault():
                    why_held = self._letter(_letter_of(chunk, chunk.content.reason))
                case Table():
                    continue
            if why_held:
                self.outcome.held.append((chunk, why_held))
            else:
                self.outcome.stored.append(chunk)

    def store_others(self, items: Sequence[Item]) -> None:
        """Everything that is no chunk; an alarm for a foreign version once per agent, however many came."""
        for item in items:
            match item:
                case Event():
                    self._bare_event(item)
                case State():
                    self._state(item)
                case Unreadable():
                    reason = self._letter(Letter(item.topic, item.payload, item.reason, acknowledged=False))
                    self.outcome.held.append((item, reason or "unreadable"))
                case Foreign():
                    self.outcome.held.append((item, "version"))
        for foreign in {(i.site, i.agent): i for i in items if isinstance(i, Foreign)}.values():
            store.raise_issue(self._conn, foreign.site, _version_issue(foreign))

    def finish(self, readings: ReadingWriter, ranges: dict[EpochKey, Ranges], chunks: Sequence[Chunk]) -> None:
        """Readings, what was set aside, and `received`; `chunks` are all of the batch, repeated ones included."""
        for chunk in self.outcome.stored:
            self._heard(chunk.header.site, chunk.topic)
        self._add_sites()
        self.outcome.written = readings.write(self._conn, self._parts)
        insert_letters(self._conn, self.outcome.letters)
        insert_rejected(self._conn, self.outcome.rejected)
        extended = {key: received.extend(ranges[key], new) for key, new in _seqs(self.outcome.stored).items()}
        _update_received(self._conn, extended)
        watermarks.note_missed(self._conn, self._delivered)
        now = ranges | extended
        self.outcome.received = {key: received.around(now[key], asked) for key, asked in _seqs(chunks).items()}
        row = self._conn.execute("select txid_current()").fetchone()
        assert row is not None
        self.outcome.revision = row[0]

    def _heard(self, site: str, topic: str) -> None:
        if site in self._clocks.without_model:
            self.outcome.without_model.setdefault(site, topic)

    def _add_sites(self) -> None:
        """Sites that something was stored for get their row; their names may be mistyped, so an issue says who names them."""
        for site in sorted(self._clocks.unknown & self.outcome.without_model.keys()):
            store.add_unknown_site(self._conn, site, self.outcome.without_model[site])

    def _rows(self, chunk: Chunk, content: Rows, ids: Ids | None) -> str:
        if ids is None:
            return "unknown_table"
        limit = low, high, _ = self._limits[chunk.header.site]
        index, t, _, quality = content.array.T
        good = (index >= 0) & (index < len(ids)) & (t >= low) & (t <= high)
        good &= (quality >= Quality.MISSING) & (quality <= Quality.MEASURED)
        if self._days_without_room and rows.days(t[good]) & self._days_without_room:
            return "new_days"
        fine = bool(good.all())
        bad: list[Row] = [*content.oversize, *([] if fine else map(tuple, content.array[~good].tolist()))]
        if bad and not self._quarantine.take(self._conn, "rejected_reading", len(bad)):
            return "rejected_reading_full"
        self.outcome.rejected += [self._rejected(chunk, row, ids, limit) for row in bad]
        kept = content.array if fine else content.array[good]
        part = np.empty((len(kept), 5), np.int64)
        part[:, 0], part[:, 1:4], part[:, 4] = ids[kept[:, 0]], kept[:, 1:], chunk.header.revision
        self._parts.append(part)
        return ""

    def _rejected(self, chunk: Chunk, row: Row, ids: Ids, limit: Limit) -> Rejected:
        index, t_ms, value, quality = row
        channel_id = int(ids[index]) if 0 <= index < len(ids) else None
        if channel_id is None:
            reason = "channel"
        elif not limit.low <= t_ms <= limit.high:
            reason = limit.earlier if t_ms < limit.low else "future"
        else:
            reason = "quality" if quality not in range(Quality.MISSING, Quality.MEASURED + 1) else "value"
        header = chunk.header
        return Rejected(header.site, header.agent, header.epoch, header.seq, f"#{index}", channel_id, t_ms, value, quality,
                        header.revision, reason)  # fmt: skip

    def _events(self, chunk: Chunk, content: Events) -> str:
        faults = list(content.faults)
        for event in content.events:
            status = store.insert_event(self._conn, chunk.header.site, event)
            self.outcome.event_statuses.append(status)
            if status == "conflict":
                faults.append(_conflict(event.event_id, event.revision))
        return self._letter(_letter_of(chunk, "; ".join(faults))) if faults else ""

    def _gap(self, chunk: Chunk, gap: Gap) -> str:
        header = chunk.header
        self._conn.execute(
            "insert into gap values (%s, %s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            (*chunk.epoch_key, header.seq, from_ms(gap.from_ms), from_ms(gap.to_ms), gap.lost_chunks, gap.lost_rows,
             gap.reason),
        )  # fmt: skip
        store.mark_site(self._conn, header.site, from_ms_=gap.from_ms, to_ms_=gap.to_ms, cause=f"gap {header.agent}")
        return ""

    def _bare_event(self, item: Event) -> None:
        if item.event is None:
            why_held = self._letter(Letter(item.topic, item.payload, item.reason, acknowledged=True, agent=item.source))
            if why_held:
                self.outcome.held.append((item, why_held))
            else:
                self.outcome.confirmed.append((item, "rejected", item.reason))
                self.outcome.event_statuses.append("rejected")
            return
        status = store.insert_event(self._conn, item.site, item.event)
        self._heard(item.site, item.topic)
        self.outcome.event_statuses.append(status)
        if status == "conflict":
            self.outcome.confirmed.append((item, "rejected", _conflict(item.event.event_id, item.event.revision)))
        else:
            self.outcome.confirmed.append((item, status, ""))

    def _state(self, item: State) -> None:
        s = item.state
        body = {"agent": s.agent, "epoch": s.epoch, "online": s.online, "at_ms": s.at_ms,
                "outbox_chunks": s.outbox_chunks, "oldest_ms": s.oldest_ms}  # fmt: skip
        self._conn.execute(
            "insert into agent (site, agent, state, seen_at) values (%s, %s, %s, now())"
            " on conflict (site, agent) do update set state = excluded.state, seen_at = excluded.seen_at",
            (item.site, s.agent, Jsonb(body)),
        )
        self._heard(item.site, topics.state(item.site, s.agent))
        if watermarks.has_delivered(s):
            self._delivered.add((item.site, s.agent))

    def _letter(self, letter: Letter) -> str:
        """Sets a message aside; why it must be held instead, if it must."""
        if not self._quarantine.take(self._conn, "dead_letter", len(letter.payload)):
            return "dead_letter_full"
        self.outcome.letters.append(letter)
        return ""


def fresh(chunks: Sequence[Chunk], ranges: dict[EpochKey, Ranges]) -> list[Chunk]:
    """Chunks that are in no `received` range, each once."""
    seen: set[tuple[EpochKey, int]] = set()
    found: list[Chunk] = []
    for chunk in chunks:
        identity = (chunk.epoch_key, chunk.header.seq)
        if identity not in seen and not received.holds(ranges.get(chunk.epoch_key, ()), chunk.header.seq):
            seen.add(identity)
            found.append(chunk)
    return found


def lock_received(conn: Conn, keys: set[EpochKey]) -> dict[EpochKey, Ranges]:
    """Locks the rows of these epochs, making missing ones, always in the same order; what they hold."""
    if not keys:
        return {}
    columns = _columns(sorted(keys))
    query = (
        "select r.site, r.agent, r.epoch, r.chunks from received r"
        " join unnest(%s::text[], %s::text[], %s::text[]) as k(site, agent, epoch) using (site, agent, epoch)"
        " order by 1, 2, 3 for update of r"
    )
    found = conn.execute(query, columns).fetchall()
    if len(found) < len(keys):
        conn.execute(
            "insert into received (site, agent, epoch) select * from unnest(%s::text[], %s::text[], %s::text[])"
            " order by 1, 2, 3 on conflict do nothing",
            columns,
        )
        found = conn.execute(query, columns).fetchall()
    return {(site, agent, epoch): [(c.lower, c.upper - 1) for c in chunks] for site, agent, epoch, chunks in found}


def _update_received(conn: Conn, ranges: dict[EpochKey, Ranges]) -> None:
    if ranges:
        conn.execute(
            "update received r set chunks = v.chunks::int8multirange, updated_at = now()"
            " from unnest(%s::text[], %s::text[], %s::text[], %s::text[]) as v(site, agent, epoch, chunks)"
            " where (r.site, r.agent, r.epoch) = (v.site, v.agent, v.epoch)",
            _columns([(*key, received.to_sql(value)) for key, value in ranges.items()]),
        )


def _seqs(chunks: Sequence[Chunk]) -> dict[EpochKey, list[int]]:
    found: dict[EpochKey, list[int]] = {}
    for chunk in chunks:
        found.setdefault(chunk.epoch_key, []).append(chunk.header.seq)
    return found


def _columns(rows: Sequence[tuple[str, ...]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _table_key(chunk: Chunk) -> TableKey:
    return (chunk.header.site, chunk.header.agent, chunk.header.table)


def _letter_of(chunk: Chunk, reason: str) -> Letter:
    header = chunk.header
    return Letter(chunk.topic, chunk.payload, reason, True, header.agent, header.epoch, header.seq)


def _conflict(event_id: str, revision: int) -> str:
    return (
        f"another content is stored as revision {revision} of event {event_id!r}; "
        f"send the correction as revision {revision + 1}"
    )


def _version_issue(foreign: Foreign) -> Issue:
    return Issue(
        "wire_version", foreign.agent, f"agent {foreign.agent} sends chunks that cannot be read: {foreign.reason}",
        "upgrade the collector; until then the agent keeps its data",
    )  # fmt: skip
