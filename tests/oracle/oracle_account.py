"""Oracle: a whole document of facts → the net postings of every hour, and how incomplete each batch is.

A second opinion on `plantprint.neutral`: it reads the same JSON, knows all facts at once and carries nothing but what
pools, stores and open windows hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from oracle.oracle_events import Production, production
from oracle.oracle_flows import edge_hours
from oracle.oracle_jobs import Account, Segment, Slice, inferred_states, segments, slices
from oracle.oracle_meters import Bucket, Hour
from oracle.oracle_numbers import HOUR_MS, MEASURED, r1
from oracle.oracle_plant import RESIDUALS, Plant
from oracle.oracle_readings import Stream, begins, level, meter_hour, streams
from oracle.oracle_sharing import Content, Held, Row, add
from oracle.oracle_stores import Layer, Parts, gathered
from oracle.oracle_time import instant
from oracle.oracle_trace import Traced, trace_hour
from oracle.oracle_windows import Waiting, Windows, enter_activity
from oracle.oracle_wrong import wrong_events


class Key(NamedTuple):
    """What tells two postings of an hour apart."""

    kind: str
    id: str
    unit: str
    step: str
    source: str
    entered_ms: int
    quality: int
    portion: str


Net = dict[Key, int]
Wrong = tuple[str, str]
"""Code and place of what an hour got wrong."""
WRONG = {
    "amount-impossible",
    "batch-incomplete",
    "conflict",
    "disagreement",
    "driver-missing",
    "flow-negative",
    "overhead",
    "store-overdrawn",
    "unassigned",
}


@dataclass
class OracleHour:
    """Net postings, what came in by source, and by batch the time in which a meter behind it was unknown."""

    hour_ms: int
    net: Net = field(default_factory=dict)
    entered: dict[str, int] = field(default_factory=dict)
    missing_ms: dict[str, int] = field(default_factory=dict)
    wrong: set[Wrong] = field(default_factory=set)

    def post(self, account: Account, part: tuple[str, int, int], amount: int, portion: str = "direct") -> None:
        key = Key(*account, *part, portion)
        self.net[key] = self.net.get(key, 0) + amount


def account_document(document: Mapping[str, Any], known_at: str | None = None) -> list[OracleHour]:
    """Every hour from the first reading to `until`, from what was known at an instant (None: everything)."""
    names = ("plants", "readings", "events")
    document = {**document, **{name: _known(document.get(name, ()), known_at) for name in names}}
    versions = _versions(document)
    known = streams(document)
    site = _Site(*versions[0][1:], known, Windows(*versions[0][1:]))
    until_ms = instant(document["until"])
    # A register read as an hour begins is where the hour before ends.
    first_ms = min(s.begins_ms - (0 if s.period_ms else 1) for s in known.values()) // HOUR_MS * HOUR_MS
    hours = []
    for hour_ms in range(first_ms, until_ms, HOUR_MS):
        in_force = [version[1:] for version in versions if version[0] <= hour_ms] or [versions[0][1:]]
        site.plant, site.made = site.windows.plant, site.windows.made = in_force[-1]
        hours.append(site.account(Hour(hour_ms, site.plant.bucket_ms, until_ms)))
    return hours


def events_wrong(document: Mapping[str, Any], known_at: str | None = None) -> set[tuple[str, str, int]]:
    """What production events got wrong, each under the plant in force at the instant that it is about."""
    document = {**document, **{name: _known(document.get(name, ()), known_at) for name in ("plants", "events")}}
    return wrong_events(document["events"], [version[:2] for version in _versions(document)])


def _versions(document: Mapping[str, Any]) -> list[tuple[int, Plant, Production]]:
    """Plants by the full hour from which they hold, the one known last at the end, and what events mean under each."""
    ever = -(2**62)

    def since(stated: Mapping[str, Any], name: str) -> int:
        return instant(stated[name]) if stated.get(name) else ever

    versions: list[tuple[int, Plant, Production]] = []
    for stated in sorted(document["plants"], key=lambda one: (since(one, "effective_at"), since(one, "known_at"))):
        plant, from_ms = Plant(stated["model"]), since(stated, "effective_at")
        plant.earlier, plant.from_ms = versions[-1][1] if versions else None, from_ms
        for meter, body in plant.meters.items():
            for channel in {binding["channel"] for binding in body["bindings"]}:
                before = versions[-1][1] if versions else plant
                fed = {b["channel"] for b in before.meters.get(meter, {"bindings": ()})["bindings"]}
                came_ms = before.came.get((meter, channel), ever) if channel in fed else from_ms - HOUR_MS
                plant.came[meter, channel] = came_ms
        versions.append((from_ms, plant, production(document.get("events", ()), plant)))
    return versions


def _known(facts: Sequence[Mapping[str, Any]], known_at: str | None) -> list[Mapping[str, Any]]:
    if known_at is None:
        return list(facts)
    return [fact for fact in facts if not fact.get("known_at") or instant(fact["known_at"]) <= instant(known_at)]


@dataclass
class _Site:
    """What an hour leaves to the next."""

    plant: Plant
    made: Production
    known: Mapping[str, Stream]
    windows: Windows
    stock: Held = field(default_factory=dict)
    stores: dict[str, list[Layer]] = field(default_factory=dict)

    def account(self, hour: Hour) -> OracleHour:
        plant, result = self.plant, OracleHour(hour.start_ms)
        late = {m: begun for m in plant.meters if (begun := begins(plant.meters[m], self.known)) is not None}
        meters = {
            meter: _commissioned(meter_hour(plant, body, self.known, hour, result.wrong), late.get(meter), hour)
            for meter, body in plant.meters.items()
            if meter not in plant.levels
        }
        inferred = {
            unit: inferred_states(plant, unit, meters[rule["meter"]], hour.start_ms)
            for unit, rule in plant.inferred.items()
        }
        ran = {
            unit: slices(self.made, unit, hour.start_ms, hour.end_ms, inferred.get(unit, ())) for unit in plant.units
        }
        levels = {
            store: found
            for store in plant.levels.values()
            if (found := level(plant, store, self.known, hour)) is not None
        }
        flows = edge_hours(plant, meters, ran, self.made, hour.start_ms, result.wrong)
        for edge in plant.edges:
            if edge.giver_kind == "source":
                result.entered[edge.giver] = result.entered.get(edge.giver, 0) + sum(flows[edge.index].amount)
        traced = trace_hour(plant, flows, self.stock, self.stores, levels, hour.start_ms)
        result.wrong |= traced.wrong
        self._residuals(traced, hour, result)
        for unit in plant.units:
            own = segments(
                plant, self.made, plant.units[unit], hour.start_ms, inferred.get(unit, ()), self._calendar(unit)
            )
            self._unit(unit, traced, own, _begun(plant.meters_behind(unit), late, hour), result)
        self._stocks(traced, hour, result)
        self._activities(result)
        self._windows_end(hour, ran, result)
        result.net = {key: amount for key, amount in result.net.items() if amount}
        result.missing_ms = {batch: ms for batch, ms in result.missing_ms.items() if ms}
        result.wrong |= {(key.kind, key.id) for key in result.net if key.kind in ("unassigned", "conflict")}
        result.wrong |= {("batch-incomplete", batch) for batch in result.missing_ms}
        return result

    def _calendar(self, place: str) -> Any:
        return self.plant.idle[place][0] if place in self.plant.idle else None

    def _residuals(self, traced: Traced, hour: Hour, result: OracleHour) -> None:
        for edge in self.plant.edges:
            if edge.taker_kind not in RESIDUALS:
                continue
            account, whole = Account(edge.taker_kind, edge.giver), summed(traced.along[edge.index])
            for row, (amount, quality) in whole.items():
                result.post(account, (*row, quality), amount)
            calendar = self._calendar(edge.giver) if edge.disposition == "window" else None
            spans = (
                [(from_ms, to_ms) for from_ms, to_ms, _ in calendar.parts(hour.start_ms, hour.end_ms)]
                if calendar
                else []
            )
            for (from_ms, _), piece in zip(spans, cut(traced.along[edge.index], spans, hour.start_ms), strict=True):
                parts = {(*row, whole[row][1]): amount for row, (amount, _) in piece.items() if amount}
                self.windows.waiting.append(Waiting(account, from_ms, parts))
        for store, lost in traced.lost.items():
            for part, amount in lost.items():
                result.post(Account("losses", store), part, amount)

    def _unit(self, unit: str, traced: Traced, own: Sequence[Segment], begun_ms: int, result: OracleHour) -> None:
        edges = [edge.index for edge in self.plant.edges if edge.taker == unit]
        came = [merged([traced.along[index][k] for index in edges]) for k in range(self.plant.buckets)]
        unknown = [max([traced.missing_ms[index][k] for index in edges], default=0) for k in range(self.plant.buckets)]
        spans = [(segment.from_ms, segment.to_ms) for segment in own]
        pieces = cut(came, spans, result.hour_ms)
        missing = cut([{("", 0): (ms, MEASURED)} for ms in unknown], spans, result.hour_ms)
        for segment, piece, lack in zip(own, pieces, missing, strict=True):
            waits: Parts = {}
            for row, (amount, quality) in piece.items():
                shares = r1(amount, [weight for _, weight in segment.shares])
                for (account, _), share in zip(segment.shares, shares, strict=True):
                    result.post(account, (*row, quality), share)
                    waits |= {(*row, quality): share} if share else {}
            touched_ms = lack[("", 0)][0] + max(0, min(segment.to_ms, begun_ms) - segment.from_ms)
            for batch in {account.id for account, _ in segment.shares if account.kind == "batch"}:
                result.missing_ms[batch] = result.missing_ms.get(batch, 0) + touched_ms
            if segment.shares[0][0].kind == "idle" and unit in self.plant.idle:
                self.windows.waiting.append(Waiting(segment.shares[0][0], segment.from_ms, waits, touched_ms))

    def _stocks(self, traced: Traced, hour: Hour, result: OracleHour) -> None:
        """Signed postings of what is held; what a pool holds when its window ends is idle of it."""
        before: dict[str, Parts] = {pool: _parts(content) for pool, content in self.stock.items()}
        before |= {store: gathered([layer.content for layer in layers]) for store, layers in self.stores.items()}
        # What a node holds that is not in the plant any more stays on its account: nobody knows where it went.
        self.stock = {pool: content for pool, content in self.stock.items() if pool not in traced.shared}
        for pool, content in traced.stock.items():
            calendar = self._calendar(pool)
            ends = (
                [
                    w.end_ms
                    for _, to_ms, w in calendar.parts(hour.start_ms, hour.end_ms)
                    if w.end_ms <= min(to_ms, hour.until_ms)
                ]
                if calendar
                else []
            )
            if not ends:
                self.stock[pool] = content
                continue
            for part, amount in _parts(content).items():
                result.post(Account("idle", pool), part, amount)
            self.windows.waiting.append(Waiting(Account("idle", pool), max(ends) - 1, _parts(content)))
        self.stores = {**self.stores, **traced.stores}
        after: dict[str, Parts] = {pool: _parts(content) for pool, content in self.stock.items()}
        after |= {store: gathered([layer.content for layer in layers]) for store, layers in self.stores.items()}
        for held, sign in ((before, -1), (after, 1)):
            for place, parts in held.items():
                for part, amount in parts.items():
                    result.post(Account("stock", place), part, sign * amount)

    def _activities(self, result: OracleHour) -> None:
        for activity in self.made.activities:
            if activity.hour_ms == result.hour_ms:
                entered = enter_activity(self.plant, self.made, activity, result.wrong)
                for account, share in entered.shares.items():
                    result.post(account, entered.part, share, "idle" if account.kind == "batch" else "direct")
                self.windows.waiting += entered.waiting
                result.entered[activity.source] = result.entered.get(activity.source, 0) + activity.amount

    def _windows_end(self, hour: Hour, ran: Mapping[str, Sequence[Slice]], result: OracleHour) -> None:
        moves, missing_ms = self.windows.end_hour(hour.start_ms, hour.until_ms, ran, result.wrong)
        for move in moves:
            result.post(move.giver, move.part, -move.amount)
            result.post(move.taker, move.part, move.amount, move.portion)
        for batch, ms in missing_ms.items():
            result.missing_ms[batch] = result.missing_ms.get(batch, 0) + ms


def _commissioned(buckets: Sequence[Bucket], begun_ms: int | None, hour: Hour) -> list[Bucket]:
    """Time before a meter's first reading is not missing (decision 4)."""
    found = []
    for bucket, (start, end) in zip(buckets, pairwise(hour.edges), strict=True):
        before = 0 if begun_ms is None else min(max(begun_ms - start, 0), end - start)
        found.append(Bucket(bucket.amount, bucket.quality, max(0, bucket.missing_ms - before)))
    return found


def _begun(meters: Iterable[str], late: Mapping[str, int], hour: Hour) -> int:
    """When in the hour the last of some meters had begun."""
    return min(hour.end_ms, max((late.get(meter, 0) for meter in meters), default=0))


def _parts(content: Content) -> Parts:
    return {(*row, quality): amount for row, (amount, quality) in content.items()}


def merged(several: Iterable[Content]) -> Content:
    whole: Content = {}
    for content in several:
        for row, (amount, quality) in content.items():
            add(whole, row, amount, quality)
    return whole


def summed(buckets: Sequence[Content]) -> Content:
    return {row: known for row, known in merged(buckets).items() if known[0]}


def cut(came: Sequence[Content], spans: Sequence[tuple[int, int]], hour_ms: int) -> list[Content]:
    """Buckets cut by time where spans end inside them, and summed per span; quality of every bucket touched."""
    pieces: list[Content] = [{} for _ in spans]
    length = HOUR_MS // len(came)
    for k, content in enumerate(came):
        first = hour_ms + k * length
        shared = [max(0, min(first + length, end) - max(first, start)) for start, end in spans]
        for row, (amount, quality) in content.items() if spans else ():
            for n, part in enumerate(r1(amount, shared)):
                if shared[n]:
                    known, worst = pieces[n].get(row, (0, MEASURED))
                    pieces[n][row] = (known + part, min(worst, quality))
    return pieces


__all__ = ["Key", "OracleHour", "Row", "account_document"]
