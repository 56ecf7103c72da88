"""The postings of an hour while they are written: what every account used, by source, entry hour and quality."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from plantprint.allocation import Account, Piece, allocate
from plantprint.divide_arrays import Ints, divide_arrays
from plantprint.exports import Row
from plantprint.facts import Quality
from plantprint.ledger import Net, PostingKey, posting_key
from plantprint.plant.graph import PlantGraph
from plantprint.sharing import Stock, StockLayer
from plantprint.spreading import Arrival
from plantprint.work_units import Shares, UnitsHour


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
    """The postings of an hour while they are written, and what tells their amounts by bucket when asked."""

    def __init__(self, graph: PlantGraph, hour_ms: int, rows: tuple[Row, ...]) -> None:
        self.hour_ms = hour_ms
        self.rows = rows
        self.net: Net = {}
        self.arrivals: list[Arrival] = []
        self._graph = graph
        self._ends = [(*row, quality, "direct") for row in rows for quality in range(len(Quality))]
        self._units: list[UnitsHour] = []
        self._pieces: list[Piece] = []
        self._even: list[tuple[Account, StockLayer]] = []

    def post_units(self, hour: UnitsHour) -> None:
        """What the accounts of work units get; with a rule for it, what is idle waits for the end of its window."""
        self._units.append(hour)
        self._post(hour.shares)
        idle = self._graph.idle
        for number, account in enumerate(hour.shares.accounts) if idle else ():
            if account.kind == "idle" and account.id in idle:
                self._wait(hour.shares, number)

    def post_pieces(self, pieces: Sequence[Piece], *, waits: bool) -> None:
        """What goes to accounts; with `waits` it waits there for the end of its window."""
        if not pieces:
            return
        self._pieces += pieces
        accounts, amounts, qualities, from_ms = zip(*pieces, strict=True)
        shares = Shares(list(accounts), np.array(amounts).sum(axis=2), np.array(qualities), np.array(from_ms))
        self._post(shares)
        for number in range(len(pieces)) if waits else ():
            self._wait(shares, number)

    def post_evenly(self, account: Account, layers: Iterable[StockLayer]) -> None:
        """Amounts of which only the hour is known."""
        for layer in layers:
            source, entered_ms, quality, amount = layer
            self._even.append((account, layer))
            self._add(PostingKey(self.hour_ms, *account, source, entered_ms, quality), amount)

    def post_stock(self, stock: Stock, sign: int) -> None:
        """Stock that a pool keeps (+1) or kept until now (-1)."""
        for pool, layers in stock.items():
            for source, entered_ms, quality, amount in layers:
                key = PostingKey(self.hour_ms, *Account("stock", pool), source, entered_ms, quality)
                self._add(key, sign * amount)

    def add(self, postings: Iterable[tuple[PostingKey, int]]) -> None:
        net, known = self.net, self.net.get
        for key, amount in postings:
            net[key] = known(key, 0) + amount

    def _post(self, shares: Shares) -> None:
        begin, ends = (self.hour_ms,), self._ends
        begins = [begin + account for account in shares.accounts]
        share, row = np.nonzero(shares.amount)
        end = row * len(Quality) + shares.quality[share, row]
        places = zip(share.tolist(), end.tolist(), strict=True)
        keys = [posting_key(begins[number] + ends[code]) for number, code in places]
        self.add(zip(keys, shares.amount[share, row].tolist(), strict=True))

    def _wait(self, shares: Shares, number: int) -> None:
        rows = zip(self.rows, shares.quality[number].tolist(), shares.amount[number].tolist(), strict=True)
        if layers := tuple((*row, quality, amount) for row, quality, amount in rows if amount):
            at_ms = self.hour_ms + int(shares.from_ms[number])
            self.arrivals.append(Arrival(shares.accounts[number], at_ms, layers))

    def _add(self, key: PostingKey, amount: int) -> None:
        self.net[key] = self.net.get(key, 0) + amount

    def without_zeros(self) -> Net:
        """The net of all postings."""
        for key in [key for key, amount in self.net.items() if not amount]:
            del self.net[key]
        return self.net

    def uses(self) -> tuple[Use, ...]:
        """Everything posted but stock and what was added, by account, source and bucket."""
        places = self._graph.work_units
        sums: dict[tuple[Account, str], Ints] = {}
        for place, amount in self._by_bucket():
            known = sums.get(place)
            sums[place] = amount if known is None else known + amount
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
            for (account, source), amount in sorted(sums.items(), key=lambda item: item[0])
        )

    def _by_bucket(self) -> Iterator[tuple[tuple[Account, str], Ints]]:
        pieces = [
            piece
            for hours in self._units
            for unit in hours.units()
            for piece in allocate(unit.amount, unit.quality, unit.parts)
        ]
        for piece in (*self._pieces, *pieces):
            used = np.count_nonzero(piece.amount, axis=1)
            for (source, _), amount, buckets in zip(self.rows, piece.amount, used, strict=True):
                if buckets:
                    yield (piece.account, source), amount
        for account, (source, _, _, amount) in self._even:
            yield (account, source), divide_arrays(np.array(amount), np.ones(self._graph.buckets, np.int64))
