"""Modbus TCP devices, read-only by construction: only function codes 3 and 4 are ever sent. The one user of pymodbus.

Every device has its own task and connection, so a slow or dead one delays no other. A round stops at the first silence
and closes the connection: a reply that comes late can then never be taken for the answer to another request.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from plantprint.facts import Quality
from plantprint.wire.chunk import Row
from plantprint_edge.channels import device_of, modbus_reads
from plantprint_edge.clock import Backoff, Clock
from plantprint_edge.config import ModbusSource
from plantprint_edge.decode import Block, decode, plan_blocks, split
from plantprint_edge.sources import Intake, SourceCounts

log = structlog.get_logger(__name__)

READ_MAX = 120
REFUSALS = {1: "illegal function", 2: "illegal address", 3: "illegal value"}


class _DeviceError(Exception):
    """The round cannot go on; `reason` is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(detail)


class ModbusReader:
    """Polls one device at instants that are multiples of its interval in site time."""

    def __init__(self, source: ModbusSource, first_index: int, intake: Intake, clock: Clock) -> None:
        device = device_of(source)
        self.counts = SourceCounts(source.name, "modbus")
        self._source = source
        self._intake = intake
        self._clock = clock
        self._blocks = plan_blocks(
            modbus_reads(source, first_index),
            read_max=source.read_max or (device.read_max if device else READ_MAX),
            gap_max=source.gap_max if source.gap_max is not None else (device.gap_max if device else 0),
            forbidden=device.forbidden if device else (),
        )
        self._backoff = Backoff(source.interval_s, source.backoff_s_max)
        self._client: AsyncModbusTcpClient | None = None
        self._failing = ""
        self._refused: set[int] = set()
        self._last_ms: dict[int, int] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            while True:
                await asyncio.sleep(self._until_next_s())
                try:
                    await self._round()
                except _DeviceError as error:
                    self._failed(error)
                    await asyncio.sleep(self._backoff.next_s())
                else:
                    self._well()
        finally:
            self._disconnect()

    def _until_next_s(self) -> float:
        """Real seconds to the next multiple of the interval; a faster site clock reaches it sooner by its speed."""
        speed = self._clock.site.speed
        period_ms = max(1, int(self._source.interval_s * 1000 * speed))
        return (period_ms - self._clock.now_ms() % period_ms) / 1000 / speed

    async def _round(self) -> None:
        self.counts.polls += 1
        client = await self._connect()
        for _ in range(len(self._blocks)):
            # The block that failed comes first next time, and none starves.
            block = self._blocks[0]
            words = await self._read(client, block)
            del self._blocks[0]
            if words is None and len(block.points) > 1:
                self._blocks += split(block)
                continue
            self._blocks.append(block)
            if words is not None and (rows := self._rows(block, words)):
                await self._intake.put(rows)

    async def _connect(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            self._disconnect()
            source = self._source
            # No retry and no reconnect of pymodbus: a repeated request would reuse its id for a late answer.
            self._client = AsyncModbusTcpClient(
                source.host, port=source.port, timeout=source.timeout_s, retries=0, reconnect_delay=0, name=source.name
            )
            with suppress(OSError):
                if await self._client.connect():
                    return self._client
            raise _DeviceError("connect", f"no connection to {source.host}:{source.port}")
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def _read(self, client: AsyncModbusTcpClient, block: Block) -> list[int] | None:
        """The block's registers, None when the device refuses this address; raises `_DeviceError`."""
        read = client.read_holding_registers if block.fc == 3 else client.read_input_registers
        try:
            response = await read(block.addr, count=block.count, device_id=self._source.unit_id)
        except ModbusException as error:
            raise _DeviceError(
                "timeout", f"registers {block.addr} to {block.addr + block.count - 1}: {error}"
            ) from error
        if response.isError():
            if response.exception_code in REFUSALS:
                self._refuse(block, response.exception_code)
                return None
            raise _DeviceError(f"exception {response.exception_code}", f"registers {block.addr} and following")
        # pymodbus lets a reply with transaction id 0 pass as an answer to anything.
        if (
            response.transaction_id == 0
            or response.dev_id != self._source.unit_id
            or response.function_code != block.fc
            or len(response.registers) != block.count
        ):
            raise _DeviceError("foreign reply", f"unit {response.dev_id}, {len(response.registers)} registers")
        return list(response.registers)

    def _rows(self, block: Block, words: Sequence[int]) -> list[Row]:
        t_ms = self._clock.now_ms()
        if self._clock_is_back(block, t_ms):
            return []
        rows: list[Row] = []
        for point in block.points:
            start = point.addr - block.addr
            value = decode(point, words[start : start + point.width])
            if value is None:
                self.counts.missing += 1
            else:
                rows.append((point.index, t_ms, value, Quality.MEASURED))
            self._last_ms[point.index] = t_ms
        self.counts.readings += len(rows)
        self.counts.last_good_ms = t_ms
        return rows

    def _clock_is_back(self, block: Block, t_ms: int) -> bool:
        """Whether to wait until the clock is past the last reading; after a large step it was wrong before, not now."""
        last_ms = self._last_ms.get(block.points[0].index)
        if last_ms is None or t_ms > last_ms:
            return False
        self.counts.errors["clock back"] += 1
        if last_ms - t_ms < self._source.clock_hold_s * 1000:
            return True
        remedy = "check the time synchronisation of this machine; the readings before carry wrong times"
        log.warning("clock_stepped_back", source=self._source.name, step_s=(last_ms - t_ms) // 1000, remedy=remedy)
        return False

    def _refuse(self, block: Block, code: int) -> None:
        self.counts.errors[REFUSALS[code]] += 1
        if len(block.points) == 1 and block.addr not in self._refused:
            self._refused.add(block.addr)
            log.error(
                "register_refused", source=self._source.name, addr=block.addr, reason=REFUSALS[code],
                remedy="check the device type, its firmware, and addr and fc of this point",
            )  # fmt: skip

    def _failed(self, error: _DeviceError) -> None:
        self.counts.errors[error.reason] += 1
        if error.reason in ("timeout", "foreign reply", "connect"):
            self._disconnect()
        if self._failing != error.reason:
            self._failing = error.reason
            remedy = "check power, network, unit_id and timeout_s; it is asked again, ever more rarely"
            log.warning(
                "device_failing", source=self._source.name, reason=error.reason, detail=str(error), remedy=remedy
            )

    def _well(self) -> None:
        self._backoff.reset()
        if self._failing:
            self._failing = ""
            log.info("device_back", source=self._source.name)
