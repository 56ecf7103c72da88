"""What waits for the end of its idle window, and what a window's end does: spread it, carry it on, or give it up.

Amounts that wait have been posted in the hours in which they were used. When their window ends they are moved from
there, in the hour of the end, to the jobs that ran in the window; where none ran, they wait for the next window of the
month, and its last one moves them to `overhead`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from plantprint.activities import Activity
from plantprint.allocation import Account
from plantprint.divide_arrays import divide_arrays
from plantprint.drivers import Inferred, processing, units_behind, window_weights
from plantprint.facts import Issue, Quality
from plantprint.ledger import Net, Portion, PostingKey, posting_key
from plantprint.plant.graph import PlantGraph
from plantprint.production import Production
from plantprint.quantities import divide
from plantprint.sharing import StockLayer
from plantprint.times import HOUR_MS, format_instant
from plantprint.windows import Calendar, IdleRule, Window

Outcome = Literal["spread", "carried", "overhead"]
Postings = list[tuple[PostingKey, int]]
"""Amounts to add up; a key may come several times."""
# What 64 bits certainly hold.
_SMALL = 2**62


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits on an account, the time in which something behind it was unknown, and what contradicts itself there."""

    layers: tuple[StockLayer, ...] = ()
    missing_ms: int = 0
    against: tuple[Issue, ...] = ()

    def plus(self, layers: Iterable[StockLayer], missing_ms: int = 0, against: Iterable[Issue] = ()) -> "Waiting":
        sums: dict[tuple[str, int, int], int] = {}
        for source, entered_ms, quality, amount in (*self.layers, *layers):
            place = (source, entered_ms, quality)
            sums[place] = sums.get(place, 0) + amount
        kept = tuple((*place, amount) for place, amount in sorted(sums.items()) if amount)
        first = {(one.code, one.place): one for one in (*against, *self.against)}
        return Waiting(kept, self.missing_ms + missing_ms, tuple(sorted(first.values())))


@dataclass(frozen=True, slots=True)
class Pending:
    """What an hour hands to the next about windows that are open.

    `waiting` is by account, `worked` by calendar the processing time of each account's jobs in its window so far.
    """

    waiting: dict[Account, Waiting] = field(default_factory=dict)
    worked: dict[str, dict[Account, int]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        against = [
            [*account, [[one.code, one.place, one.message, one.remedy, one.at_ms] for one in waiting.against]]
            for account, waiting in sorted(self.waiting.items())
            if waiting.against
        ]
        return {
            **({"against": against} if against else {}),
            "waiting": [
                [*account, waiting.missing_ms, [list(layer) for layer in waiting.layers]]
                for account, waiting in sorted(self.waiting.items())
            ],
            "worked": {
                name: [[*account, time_ms] for account, time_ms in sorted(worked.items())]
                for name, worked in sorted(self.worked.items())
            },
        }

    @staticmethod
    def from_json(body: Mapping[str, Any]) -> "Pending":
        against = {
            Account(*account): tuple(Issue(*one) for one in issues) for *account, issues in body.get("against", ())
        }
        return Pending(
            {
                (name := Account(*account)): Waiting(
                    tuple((str(s), int(e), int(q), int(a)) for s, e, q, a in layers), missing_ms, against.get(name, ())
                )
                for *account, missing_ms, layers in body.get("waiting", ())
            },
            {
                name: {Account(*account): time_ms for *account, time_ms in worked}
                for name, worked in body.get("worked", {}).items()
            },
        )


class Arrival(NamedTuple):
    """What begins to wait on an account, at an instant of the hour."""

    account: Account
    at_ms: int
    layers: tuple[StockLayer, ...]
    missing_ms: int = 0
    against: tuple[Issue, ...] = ()


class Closed(NamedTuple):
    """A window that ended: what waited at `place` (a work unit or pool) was spread over jobs, carried on, or given up."""

    place: str
    start_ms: int
    end_ms: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Spread:
    """What comes of an hour's ends of windows.

    `missing_ms` is by batch the unknown time behind what it was given, `against` what contradicts itself there.
    """

    missing_ms: dict[str, int] = field(default_factory=dict)
    against: dict[str, set[Issue]] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    issues: list[Issue] = field(default_factory=list)


def window_end(graph: PlantGraph, place: str, hour_ms: int, until_ms: int) -> int | None:
    """The last instant of the hour, its end included, at which a window of a place ends, once the site's time is there."""
    rule = graph.idle.get(place)
    parts = () if rule is None else rule.calendar.parts(hour_ms, hour_ms + HOUR_MS)
    ends = [window.end_ms for _, to_ms, window in parts if window.end_ms <= min(to_ms, until_ms)]
    return max(ends, default=None)


def enter_activities(
    graph: PlantGraph, production: Production, hour_ms: int
) -> tuple[Postings, list[Arrival], list[Issue], dict[str, set[Issue]]]:
    """Postings of the activities whose span ends in the hour, over the jobs that processed in it.

    Where none did, the amount waits at its work unit or pool like what is idle there, or is overhead. Last comes by batch
    why its share is not what it should be.
    """
    postings: Postings = []
    arrivals: list[Arrival] = []
    issues: list[Issue] = []
    against: dict[str, set[Issue]] = {}
    for activity in production.activities_in(hour_ms):
        rule = graph.idle.get(activity.place)
        units = units_behind(graph, activity.place)
        took_part = processing(graph, production, units, activity.from_ms, activity.to_ms, {})
        driver = rule.driver if rule else "processing_time"
        shared = f"activity {activity.event_source}/{activity.event_id}"
        weights, unknown = window_weights(driver, took_part, production, hour_ms, shared)
        issues += unknown
        _divided_otherwise(against, weights, unknown)
        layer = (activity.source, hour_ms, int(Quality.MEASURED), activity.amount)
        if not weights:
            unit = graph.work_units.get(activity.place)
            kind = "overhead" if rule is None else "idle"
            place = activity.place or graph.plant.site.id
            taker = Account(kind, place, unit.work_unit, unit.step) if unit else Account(kind, place)
            weights = {taker: 1}
            if rule is None:
                issues.append(_no_job_in_activity(activity, hour_ms))
            else:
                arrivals.append(Arrival(taker, activity.to_ms - 1, (layer,)))
        shares = divide(activity.amount, [weights[taker] for taker in sorted(weights)])
        for taker, share in zip(sorted(weights), shares, strict=True):
            portion: Portion = "idle" if taker.kind == "batch" else "direct"
            postings.append((PostingKey(hour_ms, *taker, *layer[:3], portion), share))
    return postings, arrivals, issues, against


def _divided_otherwise(against: dict[str, set[Issue]], weights: Collection[Account], unknown: Sequence[Issue]) -> None:
    """What goes to one taker is not divided."""
    if unknown and len(weights) > 1:
        for batch in {taker.id for taker in weights if taker.kind == "batch"}:
            against.setdefault(batch, set()).update(unknown)


def spread_hour(
    graph: PlantGraph,
    production: Production,
    hour_ms: int,
    until_ms: int,
    before: Pending,
    arrivals: Sequence[Arrival],
    inferred: Inferred,
    net: Net,
) -> tuple[Spread, Pending]:
    """Takes what arrived in the hour and ends the windows that end in it, as far as the site's time has come.

    Movements between accounts, which add up to nothing, are added to `net`.
    """
    result = Spread()
    waiting = {account: wait for account, wait in before.waiting.items() if account.id in graph.idle}
    gone = sorted({account.id for account in before.waiting} - graph.idle.keys())
    result.issues.extend(_window_gone(place, hour_ms) for place in gone)
    worked: dict[str, dict[Account, int]] = {}
    for calendar, rules in _by_calendar(graph).items():
        units = sorted({unit for place in rules for unit in units_behind(graph, place)})
        book = dict(before.worked.get(calendar.name, {}))
        for from_ms, to_ms, window in calendar.parts(hour_ms, hour_ms + HOUR_MS):
            for account, time_ms in processing(graph, production, units, from_ms, to_ms, inferred).items():
                book[account] = book.get(account, 0) + time_ms
            for arrival in arrivals:
                if arrival.account.id in rules and from_ms <= arrival.at_ms < to_ms:
                    known = waiting.get(arrival.account, Waiting())
                    waiting[arrival.account] = known.plus(arrival.layers, arrival.missing_ms, arrival.against)
            if window.end_ms <= min(to_ms, until_ms):
                by_unit = _by_unit(book)
                for place, rule in rules.items():
                    _close(graph, production, _Ending(hour_ms, place, rule, window, net), by_unit, waiting, result)
                book = {}
        worked[calendar.name] = book
    kept = {account: wait for account, wait in waiting.items() if wait.layers or wait.missing_ms}
    return result, Pending(dict(sorted(kept.items())), {name: book for name, book in sorted(worked.items()) if book})


def _by_calendar(graph: PlantGraph) -> dict[Calendar, dict[str, IdleRule]]:
    found: dict[Calendar, dict[str, IdleRule]] = {}
    for place, rule in sorted(graph.idle.items()):
        found.setdefault(rule.calendar, {})[place] = rule
    return found


def _by_unit(worked: Mapping[Account, int]) -> dict[str, dict[Account, int]]:
    found: dict[str, dict[Account, int]] = {}
    for account, time_ms in worked.items():
        found.setdefault(account.work_unit, {})[account] = time_ms
    return found


class _Ending(NamedTuple):
    hour_ms: int
    place: str
    rule: IdleRule
    window: Window
    net: Net


def _close(
    graph: PlantGraph,
    production: Production,
    ending: _Ending,
    worked: Mapping[str, Mapping[Account, int]],
    waiting: dict[Account, Waiting],
    result: Spread,
) -> None:
    hour_ms, place, rule, window, net = ending
    took_part: dict[Account, int] = {}
    for unit in units_behind(graph, place):
        took_part |= worked.get(unit, {})
    outcome: Outcome = "spread" if took_part else "overhead" if window.ends_month else "carried"
    result.closed.append(Closed(place, window.start_ms, window.end_ms, outcome))
    accounts = sorted(account for account in waiting if account.id == place)
    if outcome == "carried" or not accounts:
        return
    weights: dict[Account, int] = {Account("overhead", place, accounts[0].work_unit, accounts[0].step): 1}
    if took_part:
        weights, issues = window_weights(rule.driver, took_part, production, hour_ms, f"what was idle at {place}")
        result.issues.extend(issues)
        _divided_otherwise(result.against, weights, issues)
    else:
        result.issues.append(_no_job(place, window, hour_ms))
    for account in accounts:
        waited = waiting.pop(account)
        _hand_out(hour_ms, account, waited, weights, net)
        for batch in {taker.id for taker in weights if taker.kind == "batch"}:
            if waited.missing_ms:
                result.missing_ms[batch] = result.missing_ms.get(batch, 0) + waited.missing_ms
            if waited.against:
                result.against.setdefault(batch, set()).update(waited.against)


def _hand_out(hour_ms: int, giver: Account, waited: Waiting, weights: Mapping[Account, int], net: Net) -> None:
    takers = sorted(weights)
    portion: Portion = "direct" if takers[0].kind == "overhead" else "idle"
    begins = [(hour_ms, *taker) for taker in takers]
    shares = _divided(waited.layers, [weights[taker] for taker in takers])
    for (source, entered_ms, quality, amount), given in zip(waited.layers, shares, strict=True):
        key = PostingKey(hour_ms, *giver, source, entered_ms, quality)
        net[key] = net.get(key, 0) - amount
        ends = (source, entered_ms, quality, portion)
        for begin, share in zip(begins, given, strict=True):
            if share:
                key = posting_key(begin + ends)
                net[key] = net.get(key, 0) + share


def _divided(layers: Sequence[StockLayer], weights: list[int]) -> list[list[int]]:
    """By layer its shares by weight."""
    amounts = [amount for _, _, _, amount in layers]
    if max(amounts, default=0) < _SMALL and sum(weights) < _SMALL:
        shares: list[list[int]] = divide_arrays(np.array(amounts, np.int64), np.array([weights], np.int64)).tolist()
        return shares
    return [divide(amount, weights) for amount in amounts]


def _no_job_in_activity(activity: Activity, hour_ms: int) -> Issue:
    message = f"no job ran in the span of {activity.event_source}/{activity.event_id}, so {activity.source} is overhead"
    remedy = "correct its from and to, or send the jobs that ran"
    return Issue("overhead", activity.place or "site", message, remedy, hour_ms)


def _window_gone(place: str, hour_ms: int) -> Issue:
    message = "an idle window was open here when a plant without it took over; what waited for its end stays idle here"
    remedy = "let that version of the plant take effect when the window ends, or give it the place until then"
    return Issue("window-gone", place, message, remedy, hour_ms)


def _no_job(place: str, window: Window, hour_ms: int) -> Issue:
    message = f"no job ran here up to the month's end at {format_instant(window.end_ms)}; what was idle is overhead"
    return Issue(
        "overhead", place, message, "send the jobs that ran, or leave it: overhead belongs to no batch", hour_ms
    )
