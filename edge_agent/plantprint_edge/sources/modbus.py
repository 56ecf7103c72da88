"""Modbus devices, polled at instants of site time: what is read, in which blocks, and what becomes of trouble.

Every device has its own task. A round stops at the first silence, and the device is asked again ever more rarely.
"""

import time
from collections.abc import Sequence

import structlog

from plantprint.wire.chunk import Row
from plantprint_edge.channels import device_of, modbus_reads, ratio_reads, read_max
from plantprint_edge.clock import Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.decode import ONE, Block, Point, decode_from, plan_blocks, split
from plantprint_edge.layout import Layout
from plantprint_edge.sources import Intake, SourceCounts, sunspec
from plantprint_edge.sources.line import DeviceError, RefusedError
from plantprint_edge.sources.modbus_line import FunctionCode, Line, Lines, words_of
from plantprint_edge.sources.polling import Poller

log = structlog.get_logger(__name__)

# A transformer ratio of 0 or of all ones is a register that nobody set.
NO_RATIO = frozenset({0, 0xFFFF})
# What is read within this time goes on together; nothing waits longer for the rest of a slow line.
TOGETHER_S = 0.1


class ModbusReader(Poller):
    """Polls one device."""

    remedy = "check power, network, unit_id and timeout_s; it is asked again, ever more rarely"

    def __init__(
        self, source: ModbusSource, first_index: int, intake: Intake, clock: Clock, line: Line | None = None
    ) -> None:
        device = device_of(source)
        self._line = line or Lines().of(source)
        super().__init__(source, SourceCounts(source.name, "modbus"), clock, self._line)
        self._source = source
        self._intake = intake
        self._read_max = read_max(source, device)
        self._gap_max = source.gap_max if source.gap_max is not None else (device.gap_max if device else 0)
        self._forbidden = device.forbidden if device else ()
        self._pause_s = (source.pause_ms if source.pause_ms is not None else device.pause_ms if device else 0) / 1000
        self._sunspec = device.sunspec if device else ()
        # Addresses count from here; None until the model has been found.
        self._base = None if self._sunspec else 0
        self._blocks = self._plan(modbus_reads(source, first_index))
        fc = device.fc if device else 3
        first_ratio = first_index + len(source.points)
        self._ratio_names = {first_ratio + i: ratio.name for i, ratio in enumerate(ratio_reads(source))}
        self._ratio_points = tuple(
            Point(first_ratio + i, fc, ratio.addr, "u16", "big", ONE, NO_RATIO)
            for i, ratio in enumerate(ratio_reads(source))
        )
        self._ratios: dict[str, int] = {}
        # By the channels in a block; they hold for the ratios of now.
        self._layouts: dict[tuple[int, ...], Layout] = {}
        self._ratios_due_s = 0.0
        self._refused: set[int] = set()

    def _plan(self, points: Sequence[Point]) -> list[Block]:
        return plan_blocks(points, self._read_max, self._gap_max, self._forbidden)

    async def poll(self) -> None:
        """Read everything once; raises `DeviceError`. What the device refuses in one piece is read in parts next time."""
        self.counts.polls += 1
        if self._base is None:
            self._base = await self._find_model()
        if self._ratio_points and time.monotonic() >= self._ratios_due_s:
            await self._read_ratios()
        rows: list[Row] = []
        begun_s = time.monotonic()
        try:
            for _ in range(len(self._blocks)):
                # The block that failed comes first next time, and none starves.
                block = self._blocks[0]
                data = await self._read(block)
                del self._blocks[0]
                if data is None and len(block.points) > 1:
                    self._blocks += split(block)
                    continue
                self._blocks.append(block)
                if data is not None:
                    rows += self._rows(block, data)
                if rows and time.monotonic() - begun_s > TOGETHER_S:
                    taken, rows, begun_s = rows, [], time.monotonic()
                    await self._intake.put(taken)
        finally:
            if rows:
                await self._intake.put(rows)

    async def _find_model(self) -> int:
        models = await sunspec.walk(self._registers)
        model = sunspec.find(models, self._sunspec)
        if model is None:
            found = ", ".join(str(m.number) for m in models) or "no SunSpec marker"
            raise DeviceError("no sunspec model", f"wanted {' or '.join(map(str, self._sunspec))}, found {found}")
        log.info("sunspec_model_found", source=self._source.name, model=model.number, addr=model.addr)
        return model.addr

    async def _read_ratios(self) -> None:
        """Read the ratios twice and take what comes twice: a wrong one would falsify every value until the next time."""
        for block in self._plan(self._ratio_points):
            first, second = await self._read(block), await self._read(block)
            if first is None or second is None:
                continue
            words = words_of(first)
            if first != second:
                raise DeviceError(
                    "ratio unsteady", f"registers {block.addr} and following: {words}, then {words_of(second)}"
                )
            for point in block.points:
                self._take_ratio(self._ratio_names[point.index], decode_from(block, point, words, {}))
            if rows := self._rows(block, first):
                await self._intake.put(rows)
        self._ratios_due_s = time.monotonic() + self._source.ratio_every_s

    def _take_ratio(self, name: str, ratio: int | None) -> None:
        known = self._ratios.get(name)
        if ratio is None:
            remedy = f"set the ratio in the meter, or write ratios: {{{name}: ...}}; what it multiplies is not read"
            log.error("ratio_missing", source=self._source.name, ratio=name, remedy=remedy)
            self._ratios.pop(name, None)
            self._layouts.clear()
            return
        if known is not None and known != ratio:
            self.counts.errors["ratio changed"] += 1
            remedy = "counters jump by this factor: bind the channel anew in plant.yaml from this moment on"
            log.warning("ratio_changed", source=self._source.name, ratio=name, before=known, now=ratio, remedy=remedy)
        if known != ratio:
            self._ratios[name] = ratio
            self._layouts.clear()

    async def _read(self, block: Block) -> bytes | None:
        """The block's registers, None when the device refuses this address; raises `DeviceError`."""
        try:
            return await self._ask(block.fc, block.addr + (self._base or 0), block.count)
        except RefusedError as error:
            self._refuse(block, error.reason)
            return None

    async def _registers(self, addr: int, count: int) -> Sequence[int] | None:
        try:
            return words_of(await self._ask(self._blocks[0].fc, addr, count))
        except RefusedError:
            return None

    async def _ask(self, fc: FunctionCode, addr: int, count: int) -> bytes:
        started_s = await self.rest(self._pause_s) if self._pause_s else time.monotonic()
        source = self._source
        try:
            return await self._line.fetch(source.unit_id, fc, addr, count, source.timeout_s, source.late_s_max)
        finally:
            self.asked(started_s)

    def _rows(self, block: Block, data: bytes) -> list[Row]:
        t_ms = self.instant(block.indexes)
        if t_ms is None:
            return []
        layout = self._layouts.get(block.indexes)
        if layout is None:
            layout = self._layouts[block.indexes] = Layout(block, self._ratios)
        rows = layout.rows(data, t_ms)
        counts = self.counts
        counts.missing += len(block.points) - len(rows)
        counts.readings += len(rows)
        counts.last_good_ms = t_ms
        return rows

    def _refuse(self, block: Block, reason: str) -> None:
        self.counts.errors[reason] += 1
        if len(block.points) == 1 and block.addr not in self._refused:
            self._refused.add(block.addr)
            log.error(
                "register_refused", source=self._source.name, addr=block.addr, reason=reason,
                remedy="check the device type, its firmware, and addr and fc of this point",
            )  # fmt: skip

    def forget(self) -> None:
        """See `Poller.forget`."""
        if self._sunspec:
            self._base = None
        self._ratios_due_s = 0.0
