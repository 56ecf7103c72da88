"""An hour's accounts from what was traced and divided: residuals, work units, ends of windows, and that they add up."""

from collections.abc import Iterable, Mapping, Sequence

from plantprint.activities import Activity
from plantprint.allocation import Account, Piece, cut
from plantprint.book import Book
from plantprint.facts import Issue
from plantprint.plant.graph import PlantGraph
from plantprint.spreading import Arrival, window_end
from plantprint.times import HOUR_MS
from plantprint.tracing import StockLayer, Traced
from plantprint.work_units import UnitHour

_RESIDUALS = ("export", "losses", "unmetered")


def post_residuals(graph: PlantGraph, traced: Traced, book: Book) -> None:
    parcels = traced.parcels
    for edge in graph.edges:
        if edge.taker_kind not in _RESIDUALS:
            continue
        account, amount, quality = Account(edge.taker_kind, edge.giver), parcels.amount[edge.index], parcels.quality
        worst = quality[edge.index].min(axis=1)
        if edge.disposition != "window":
            book.post_piece(Piece(account, amount, worst))
            continue
        for from_ms, to_ms, _ in graph.idle[edge.giver].calendar.parts(book.hour_ms, book.hour_ms + HOUR_MS):
            begin_ms = from_ms - book.hour_ms
            part = cut(amount, begin_ms, to_ms - book.hour_ms)
            book.post_piece(Piece(account, part, worst, begin_ms), waits=True)
    for store, layers in traced.lost.items():
        book.post_evenly(Account("losses", store), layers)


def end_of_window(
    graph: PlantGraph, stock: dict[str, tuple[StockLayer, ...]], book: Book, until_ms: int
) -> dict[str, tuple[StockLayer, ...]]:
    """The stock to carry on with: none where a window of its pool ended in the hour, then it is idle of the pool."""
    kept: dict[str, tuple[StockLayer, ...]] = {}
    for pool, layers in stock.items():
        end_ms = window_end(graph, pool, book.hour_ms, until_ms)
        if end_ms is None:
            kept[pool] = layers
            continue
        book.post_evenly(Account("idle", pool), layers)
        book.arrivals.append(Arrival(Account("idle", pool), end_ms - 1, layers))
    return kept


def post_work_units(graph: PlantGraph, units: Sequence[UnitHour], book: Book) -> tuple[dict[str, int], dict[str, int]]:
    """Posts what ended at work units; returns the missing time by batch and by work unit.

    Time before a meter was there touches only who ran then: it says nothing about the mix of the rest of the hour.
    """
    by_batch: dict[str, int] = {}
    by_work_unit: dict[str, int] = {}
    for hour in units:
        rule = graph.idle.get(hour.unit)
        book.post_unit(hour, waits=rule is not None)
        if not hour.is_incomplete:
            continue
        missing_ms = hour.missing_ms
        by_work_unit[hour.unit] = int(missing_ms.sum()) + hour.begin_ms
        for part in hour.parts:
            touched_ms = int(cut(missing_ms[None], part.from_ms, part.to_ms).sum())
            touched_ms += max(0, min(part.to_ms, hour.begin_ms) - part.from_ms)
            for batch in {account.id for account, _ in part.shares if account.kind == "batch"}:
                by_batch[batch] = by_batch.get(batch, 0) + touched_ms
            if rule and touched_ms and part.shares[0][0].kind == "idle":
                book.arrivals.append(Arrival(part.shares[0][0], book.hour_ms + part.from_ms, (), touched_ms))
    return {batch: ms for batch, ms in sorted(by_batch.items()) if ms}, by_work_unit


_APART = {
    "unassigned": (
        "it was processing without a job, so what it used belongs to no batch",
        "send the job that ran (job_start, job_end), or a state other than processing",
    ),
    "conflict": (
        "two jobs ran at once in an exclusive step, so what they used belongs to neither",
        "correct the times of the jobs that the issue exclusive-overlap names",
    ),
}


def kept_apart(book: Book) -> Iterable[Issue]:
    for kind, unit in {(key.account_kind, key.account_id) for key in book.net if key.account_kind in _APART}:
        yield Issue(kind, unit, *_APART[kind], book.hour_ms)


def incomplete(missing_ms: Mapping[str, int], hour_ms: int) -> Iterable[Issue]:
    for batch, ms in missing_ms.items():
        message = f"meters behind this batch were unknown for {ms / 1000:.0f} s of this hour; its footprint lacks that"
        remedy = "bring the readings of the meters that the hour's issues name; the hour is accounted again by itself"
        yield Issue("batch-incomplete", batch, message, remedy, hour_ms)


def assert_conserved(by_source: Mapping[str, int], activities: Iterable[Activity], book: Book) -> None:
    """Every millionth that entered is on exactly one account; anything else is a bug, whatever the readings say."""
    entered = dict(by_source)
    for activity in activities:
        if activity.hour_ms == book.hour_ms:
            entered[activity.source] = entered.get(activity.source, 0) + activity.amount
    posted = dict.fromkeys(entered, 0)
    for key, amount in book.net.items():
        posted[key[5]] = posted.get(key[5], 0) + amount
    for source in posted:
        assert posted[source] == entered.get(source, 0), (
            f"{source}: {entered.get(source, 0)} in, {posted[source]} posted"
        )
