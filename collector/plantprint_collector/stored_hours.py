"""Settled hours as they are stored: what every meter told, read as arrays, and written where it is new.

A meter's hour is a function of its readings, its state before it, and what `fingerprint` names. Where none of these has
changed since it was written, it need not be made again, however much of the hour must be accounted anew.
"""

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from psycopg import Connection

from plantprint.account import Carry, HourAccount
from plantprint.flows import Known
from plantprint.intervals import CounterState, MeterHour
from plantprint.times import HOUR_MS, from_ms
from plantprint_collector.arrays import array_cursor, encoded
from plantprint_collector.facts_store import MeterSource
from plantprint_collector.ledger_store import HourRow, load_hours
from plantprint_collector.rows import COPY_HEADER, COPY_TRAILER, POSTGRES_EPOCH_MS

Conn = Connection[tuple[Any, ...]]
Again = Collection[str] | None
"""Meters whose readings must be looked at again in an hour; None: those of all."""

# To be raised when the same readings make other intervals.
_RULES = 2
_ENCODED_AT_ONCE = 500
_COPY = "copy interval (site, meter, hour_at, amount, quality, missing_ms, made_of) from stdin (format binary)"
_LOAD = (
    "select meter, (extract(epoch from hour_at) * 1000)::bigint, made_of, amount, quality, missing_ms from interval "
    "where site = %s and meter = any(%s) and hour_at between %s and %s and made_of is not null"
)


class Kept(NamedTuple):
    """Meters whose stored hour still holds, and the states of those at its end that have one."""

    hours: dict[str, MeterHour]
    states: dict[str, CounterState]


def keep_nothing(_hour_ms: int, _carry: Carry) -> Kept:
    return Kept({}, {})


class StoredHours:
    """Consecutive settled hours and the one before them, as of a moment before they are written anew."""

    def __init__(self, conn: Conn, site: str, hours: Sequence[int], meters: Iterable[str]) -> None:
        self.rows: dict[int, HourRow] = load_hours(conn, site, hours[0] - HOUR_MS, hours[-1])
        self._told: dict[int, dict[str, tuple[int, MeterHour]]] = {}
        with array_cursor(conn) as cursor:
            cursor.execute(_LOAD, (site, list(meters), from_ms(hours[0]), from_ms(hours[-1])))
            for meter, hour_ms, made_of, amount, quality, missing_ms in cursor:
                hour = MeterHour(amount, quality.astype(np.int8), missing_ms)
                self._told.setdefault(hour_ms, {})[meter] = (made_of, hour)

    def keep(self, hour_ms: int, made_of: Mapping[str, int], again: Again) -> Kept:
        """What need not be made again of an hour; `made_of` are the fingerprints by today's facts."""
        row = self.rows.get(hour_ms)
        if row is None or again is None:
            return Kept({}, {})
        told = self._told.get(hour_ms, {})
        hours = {
            meter: told[meter][1]
            for meter, mark in made_of.items()
            if meter not in again and meter in told and told[meter][0] == mark
        }
        return Kept(hours, {meter: state for meter, state in row.carry.meters.items() if meter in hours})


def fingerprint(source: MeterSource, bucket_s: int) -> int:
    """Names all that a meter's hour is made from besides readings and the state before it, in 64 bits."""
    text = repr((_RULES, bucket_s, *_described(source)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), signed=True)


def _described(source: MeterSource) -> Iterator[object]:
    yield source.meter.model_dump(exclude={"name", "bindings"})
    yield from (source.ratio, source.channel, sorted(source.multipliers.items()), source.from_ms, source.to_ms)
    for feed in source.following:
        yield tuple(_described(feed))
    for name, beside in sorted(source.beside.items()):
        yield name, tuple(_described(beside))


def forget(conn: Conn, site: str, hour_ms: int, meters: Again, every: Collection[str]) -> None:
    """Lets the hour of meters be made from readings whenever it is next accounted; None: of `every` meter there is."""
    conn.execute(
        "update interval set made_of = null where site = %s and meter = any(%s) and hour_at = %s and made_of is not null",
        (site, list(every if meters is None else meters), from_ms(hour_ms)),
    )


def write_intervals(
    conn: Conn,
    site: str,
    accounts: Sequence[HourAccount],
    made_of: Mapping[int, Mapping[str, int]],
    kept: Mapping[int, Collection[str]],
    every: Collection[str],
) -> None:
    """Writes what every meter told in accounted hours but those that were `kept`; `every` meter there is, or was.

    `made_of` are fingerprints by hour and meter; where an issue names the meter its readings are to be looked at again.
    """
    first, last = accounts[0].hour_ms, accounts[-1].hour_ms
    if not kept:
        _delete(conn, site, every, first, last)
    for hour_ms, stay in kept.items():
        _delete(conn, site, set(every).difference(stay), hour_ms, hour_ms)
    with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.write(COPY_HEADER)
        for account in accounts:
            stay, marks = kept.get(account.hour_ms, ()), made_of.get(account.hour_ms, {})
            odd = {issue.place for issue in account.issues}
            known = Known.of(account.meters)
            # What was not there yet has no row.
            there = (known.quality != 0).any(axis=1) | (known.missing_ms != 0).any(axis=1)
            rows = [(m, n) for m, n in known.number.items() if there[n] and m not in stay]
            for at in range(0, len(rows), _ENCODED_AT_ONCE):
                several = rows[at : at + _ENCODED_AT_ONCE]
                copy.write(b"".join(_encoded(site, account.hour_ms, known, several, marks, odd)))
        copy.write(COPY_TRAILER)


def _delete(conn: Conn, site: str, meters: Collection[str], first_ms: int, last_ms: int) -> None:
    conn.execute(
        "delete from interval where site = %s and meter = any(%s) and hour_at between %s and %s",
        (site, list(meters), from_ms(first_ms), from_ms(last_ms)),
    )


def _encoded(
    site: str,
    hour_ms: int,
    known: Known,
    rows: Sequence[tuple[str, int]],
    marks: Mapping[str, int],
    odd: Collection[str],
) -> Iterator[bytes | memoryview]:
    """Rows of a binary COPY."""
    begin = struct.pack("!h", 7) + _text(site)
    at = struct.pack("!iq", 8, (hour_ms - POSTGRES_EPOCH_MS) * 1000)
    places = [n for _, n in rows]
    told = (known.amount, "i8"), (known.quality, "i2"), (known.missing_ms, "i4")
    cells = np.hstack([encoded(values[places], code) for values, code in told])
    for (meter, _), row in zip(rows, cells, strict=True):
        mark = None if meter in odd else marks.get(meter)
        made_of = struct.pack("!i", -1) if mark is None else struct.pack("!iq", 8, mark)
        yield from (begin, _text(meter), at, row.data, made_of)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("!i", len(data)) + data
