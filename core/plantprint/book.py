"""The postings of an hour while they are written: what every account used, by source, entry hour, quality and bucket."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from plantprint.allocation import Account, Piece
from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.ledger import Net, PostingKey
from plantprint.plant.graph import PlantGraph
from plantprint.sharing import Row, Stock, StockLayer
from plantprint.spreading import Arrival


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """What an account used of a source: millionths of its unit per bucket (`work_center` is empty off the lines)."""

    account_kind: str
    account_id: str
    work_unit: str
    work_center: str
    step: str
    source: str
    amount: Ints


class Book:
    """The postings of an hour while they are written, with their amounts by bucket beside them."""

    def __init__(self, hour_ms: int, rows: tuple[Row, ...]) -> None:
        self.hour_ms = hour_ms
        self.rows = rows
        self.net: Net = {}
        self.arrivals: list[Arrival] = []
        self._buckets: dict[tuple[Account, str], Ints] = {}

    def post(self, piece: Piece) -> None:
        totals, worst = piece.amount.sum(axis=1).tolist(), piece.quality.tolist()
        for row, (source, entered_ms) in enumerate(self.rows):
            if totals[row]:
                self._add(PostingKey(self.hour_ms, *piece.account, source, entered_ms, worst[row]), totals[row])
                place = (piece.account, source)
                known = self._buckets.get(place)
                self._buckets[place] = piece.amount[row] if known is None else known + piece.amount[row]

    def post_waiting(self, piece: Piece) -> None:
        """A piece that waits on its account for the end of its window."""
        self.post(piece)
        totals = piece.amount.sum(axis=1).tolist()
        layers = tuple((*row, int(piece.quality[n]), totals[n]) for n, row in enumerate(self.rows) if totals[n])
        self.arrivals.append(Arrival(piece.account, self.hour_ms + piece.from_ms, layers))

    def post_evenly(self, account: Account, layers: Iterable[StockLayer], buckets: int) -> None:
        """Amounts of which only the hour is known."""
        for source, entered_ms, quality, amount in layers:
            self._add(PostingKey(self.hour_ms, *account, source, entered_ms, quality), amount)
            evenly = divide_arrays(np.array(amount), np.ones(buckets, np.int64))
            known = self._buckets.get((account, source))
            self._buckets[account, source] = evenly if known is None else known + evenly

    def post_stock(self, stock: Stock, sign: int) -> None:
        """Stock that a pool keeps (+1) or kept until now (-1)."""
        for pool, layers in stock.items():
            for source, entered_ms, quality, amount in layers:
                key = PostingKey(self.hour_ms, *Account("stock", pool), source, entered_ms, quality)
                self._add(key, sign * amount)

    def add(self, net: Mapping[PostingKey, int]) -> None:
        for key, amount in net.items():
            self._add(key, amount)

    def _add(self, key: PostingKey, amount: int) -> None:
        self.net[key] = self.net.get(key, 0) + amount

    def uses(self, graph: PlantGraph) -> tuple[Use, ...]:
        places = graph.work_units
        return tuple(
            Use(
                account.kind,
                account.id,
                account.work_unit,
                places[account.work_unit].work_center if account.work_unit else "",
                account.step,
                source,
                amount,
            )
            for (account, source), amount in sorted(self._buckets.items(), key=lambda item: item[0])
        )
