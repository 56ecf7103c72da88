"""The readings of a synthetic gateway: which are due when, and their values, all computed and nothing remembered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plantprint.facts import Channel, Quality
from plantprint.wire import TABLE_CHANNELS_MAX
from plantprint.wire.chunk import Row, encode_table, table_hash


@dataclass(frozen=True, slots=True)
class Table:
    """Some meters of a gateway under one channel table; meter i is read at start_us + phases_us[i] + k x period_us."""

    hash: str
    body: bytes
    start_us: int
    period_us: int
    phases_us: tuple[int, ...]
    steps: tuple[int, ...]

    def rows(self, from_us: int, to_us: int) -> list[Row]:
        """Rows due in [from_us, to_us), by time; counters that grow by their step from reading to reading."""
        found: list[Row] = []
        for index, step in enumerate(self.steps):
            first_us = self.start_us + self.phases_us[index]
            found += [
                (index, (first_us + k * self.period_us) // 1000, 1000 + k * step, int(Quality.MEASURED))
                for k in range(self._made_before(index, from_us), self._made_before(index, to_us))
            ]
        found.sort(key=lambda row: row[1])
        return found

    def count(self, to_us: int) -> int:
        """How many rows are due before `to_us`."""
        return sum(self._made_before(index, to_us) for index in range(len(self.steps)))

    def _made_before(self, index: int, t_us: int) -> int:
        return max(-(-(t_us - self.start_us - self.phases_us[index]) // self.period_us), 0)


def tables(agent: str, meters: int, hz: float, start_us: int, seed: int) -> list[Table]:
    """The channel tables of a gateway with `meters` meters, whose readings spread evenly over the period."""
    period_us = round(1_000_000 / hz)
    found = []
    for begin in range(0, meters, TABLE_CHANNELS_MAX):
        numbers = range(begin, min(begin + TABLE_CHANNELS_MAX, meters))
        body = encode_table([Channel(agent, f"m{number:05d}.energy", "kWh", 2, "counter") for number in numbers])
        phases_us = tuple(number * period_us // meters for number in numbers)
        steps = tuple(1 + (number * 7919 + seed) % 97 for number in numbers)
        found.append(Table(table_hash(body), body, start_us, period_us, phases_us, steps))
    return found


def pieces(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """The rows in runs of at most `size`."""
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]
