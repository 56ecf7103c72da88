"""DL/T 645-2007 meters, polled: which identifiers are asked for, and what becomes of the digits and of refusals."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import structlog

from plantprint.facts import Quality
from plantprint.quantities import INT64_MAX, round_half_even
from plantprint.wire.chunk import Row
from plantprint_edge.clock import Clock
from plantprint_edge.config.dlt645 import Dlt645Source
from plantprint_edge.sources import Intake, SourceCounts
from plantprint_edge.sources.dlt645_frame import DigitsError, number
from plantprint_edge.sources.dlt645_items import known_items
from plantprint_edge.sources.dlt645_line import Dlt645Line, Dlt645Lines
from plantprint_edge.sources.line import RefusedError
from plantprint_edge.sources.polling import Poller

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Value:
    """One value in a reply: it begins at byte `start`, is `size` bytes long, and becomes channel `index`."""

    index: int
    start: int
    size: int
    signed: bool
    factor: Fraction

    def decode(self, data: bytes) -> int | None:
        """The integer at the channel's decimals, rounded half to even; None where missing. Raises `DigitsError`."""
        digits = number(data[self.start : self.start + self.size], signed=self.signed)
        if digits is None:
            return None
        value = round_half_even(digits * self.factor.numerator, self.factor.denominator)
        return value if abs(value) <= INT64_MAX else None


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for at once: an identifier, the values in its reply, and for a block the requests instead of it."""

    di: int
    values: tuple[Value, ...]
    instead: tuple["Request", ...] = ()

    def fits(self, data: bytes) -> bool:
        """Whether `data` can be the values: a block may hold fewer or more of them than are asked for."""
        size = self.values[0].size
        return len(data) % size == 0 and len(data) > 0 if self.instead else len(data) == size


class Dlt645Reader(Poller):
    """Polls one meter."""

    remedy = "check power, wiring, address, baud and parity, and timeout_s; it is asked again, ever more rarely"

    def __init__(
        self, source: Dlt645Source, first_index: int, intake: Intake, clock: Clock, line: Dlt645Line | None = None
    ) -> None:
        self._line = line or Dlt645Lines().of(source)
        super().__init__(source, SourceCounts(source.name, "dlt645"), clock, self._line)
        self._source = source
        self._intake = intake
        self._requests = deque(requests(source, first_index))
        self._refused: set[int] = set()

    async def poll(self) -> None:
        """Read everything once; raises `DeviceError`. A block that the meter does not have is read value by value."""
        self.counts.polls += 1
        for _ in range(len(self._requests)):
            # The request that failed comes first next time, and none starves.
            request = self._requests[0]
            try:
                data = await self._ask(request.di)
            except RefusedError as error:
                data = None
                self._refuse(request, error.reason)
            self._requests.popleft()
            if request.instead and (data is None or not request.fits(data)):
                self._requests.extend(request.instead)
                continue
            self._requests.append(request)
            if data is not None:
                await self._take(request, data)

    async def _ask(self, di: int) -> bytes:
        started_s = await self.rest((self._source.pause_ms or 0) / 1000)
        source = self._source
        try:
            return await self._line.read(source.address, di, source.timeout_s, source.late_s_max, self.counts.errors)
        finally:
            self.asked(started_s)

    async def _take(self, request: Request, data: bytes) -> None:
        t_ms = self.instant([value.index for value in request.values])
        if t_ms is None:
            return
        if not request.fits(data):
            self._unusable(request, f"{len(data)} bytes where {request.values[0].size} belong")
            return
        rows = self._rows(request, data, t_ms)
        self.counts.readings += len(rows)
        self.counts.last_good_ms = t_ms
        if rows:
            await self._intake.put(rows)

    def _rows(self, request: Request, data: bytes, t_ms: int) -> list[Row]:
        rows: list[Row] = []
        for value in request.values:
            try:
                integer = value.decode(data)
            except DigitsError as error:
                self._unusable(request, str(error))
                continue
            if integer is None:
                self.counts.missing += 1
            else:
                rows.append((value.index, t_ms, integer, Quality.MEASURED))
        return rows

    def _unusable(self, request: Request, detail: str) -> None:
        self.counts.errors["bad digits"] += 1
        if self.counts.errors["bad digits"] == 1:
            remedy = "compare format and signed of this point with the meter's manual; further ones are only counted"
            log.warning("value_refused", source=self._source.name, di=f"{request.di:08X}", reason=detail, remedy=remedy)

    def _refuse(self, request: Request, reason: str) -> None:
        if request.instead:
            log.info("block_refused", source=self._source.name, di=f"{request.di:08X}", reason=reason)
            return
        self.counts.errors[reason] += 1
        if request.di not in self._refused:
            self._refused.add(request.di)
            remedy = "the meter does not have this value: remove the point, or check its di in the manual"
            log.error("value_not_there", source=self._source.name, di=f"{request.di:08X}", reason=reason, remedy=remedy)


def requests(source: Dlt645Source, first_index: int) -> list[Request]:
    """What is asked for, in the order of the points; those that share a block come together."""
    groups: dict[tuple[int, int], list[tuple[int, Request]]] = {}
    for index, point in enumerate(source.points, first_index):
        item = point.item
        place = known_items().block_of(item) if source.blocks and point.is_as_shipped else None
        key, position = ((place[0], 0), place[1]) if place else ((item.number, index), 0)
        single = Request(item.number, (Value(index, 0, item.size, item.signed, point.factor),))
        groups.setdefault(key, []).append((position, single))
    return [_block(di, group) if len(group) > 1 else group[0][1] for (di, _), group in groups.items()]


def _block(di: int, group: Sequence[tuple[int, Request]]) -> Request:
    singles = tuple(single for _, single in group)
    values = tuple(
        Value(v.index, position * v.size, v.size, v.signed, v.factor)
        for position, single in group
        for v in single.values
    )
    return Request(di, values, singles)
