"""An hour's accounts from what was traced and divided: residuals, work units, ends of windows, and that they add up."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from plantprint.activities import Activity
from plantprint.allocation import Account, Piece, cut
from plantprint.book import Book
from plantprint.facts import Issue
from plantprint.plant.graph import Edge, PlantGraph
from plantprint.spreading import Arrival, window_end
from plantprint.times import HOUR_MS
from plantprint.tracing import StockLayer, Traced
from plantprint.work_units import UnitsHour

_RESIDUALS = ("export", "losses", "unmetered")


def post_residuals(graph: PlantGraph, traced: Traced, book: Book) -> None:
    pieces: list[Piece] = []
    waiting: list[Piece] = []
    edges = _residuals(graph)
    places = [edge.index for edge in edges]
    amounts, worst = traced.parcels.amount[places], traced.parcels.quality[places].min(axis=2)
    for edge, amount, quality in zip(edges, amounts, worst, strict=True):
        account = Account(edge.taker_kind, edge.giver)
        if edge.disposition != "window":
            pieces.append(Piece(account, amount, quality))
            continue
        for from_ms, to_ms, _ in graph.idle[edge.giver].calendar.parts(book.hour_ms, book.hour_ms + HOUR_MS):
            begin_ms = from_ms - book.hour_ms
            waiting.append(Piece(account, cut(amount, begin_ms, to_ms - book.hour_ms), quality, begin_ms))
    book.post_pieces(pieces, waits=False)
    book.post_pieces(waiting, waits=True)
    for store, layers in traced.lost.items():
        book.post_evenly(Account("losses", store), layers)


@lru_cache(maxsize=8)
def _residuals(graph: PlantGraph) -> tuple[Edge, ...]:
    return tuple(edge for edge in graph.edges if edge.taker_kind in _RESIDUALS)


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


def post_work_units(graph: PlantGraph, hour: UnitsHour, book: Book) -> tuple[dict[str, int], dict[str, int]]:
    """Posts what ended at work units; returns the missing time by batch and by work unit.

    Time before a meter was there touches only who ran then: it says nothing about the mix of the rest of the hour.
    """
    by_batch: dict[str, int] = {}
    by_work_unit: dict[str, int] = {}
    book.post_units(hour)
    for unit in hour.incomplete():
        by_work_unit[unit.unit] = int(unit.missing_ms.sum()) + unit.begin_ms
        for part in unit.parts:
            touched_ms = int(cut(unit.missing_ms[None], part.from_ms, part.to_ms).sum())
            touched_ms += max(0, min(part.to_ms, unit.begin_ms) - part.from_ms)
            for batch in {account.id for account, _ in part.shares if account.kind == "batch"}:
                by_batch[batch] = by_batch.get(batch, 0) + touched_ms
            if unit.unit in graph.idle and touched_ms and part.shares[0][0].kind == "idle":
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
        yield Issue(kind, unit, *_APART[kind], book.hour_ms, contradicts=kind == "conflict")


def incomplete(missing_ms: Mapping[str, int], hour_ms: int) -> Iterable[Issue]:
    for batch, ms in missing_ms.items():
        message = (
            f"meters behind this batch were unknown for {ms / 1000:.0f} s of the machine time that this hour charges to it "
            "(idle time when its window ends); its footprint lacks that"
        )
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
