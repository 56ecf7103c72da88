"""Arrays of the database as numpy's, both ways, without an object for each value."""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import Connection, Cursor
from psycopg.adapt import Loader
from psycopg.pq import Format

from plantprint_collector.rows import POSTGRES_EPOCH_MS

Ints = NDArray[np.int64]

_HEAD = struct.Struct("!iiiii")  # dimensions, nulls, type, length, lower bound
_OIDS = {"i2": 21, "i4": 23, "i8": 20}
_ARRAY_OIDS = {1005: "i2", 1007: "i4", 1016: "i8", 1185: "i8"}


def array_cursor(conn: Connection[tuple[Any, ...]]) -> Cursor[tuple[Any, ...]]:
    """A cursor that gives arrays of integers as numpy's; those of instants in microseconds of PostgreSQL's time."""
    cursor = conn.cursor(binary=True)
    for oid, loader in _LOADERS.items():
        cursor.adapters.register_loader(oid, loader)
    return cursor


def instants_ms(microseconds: Ints) -> Ints:
    """Instants as an array of them is given, in ms since 1970."""
    found: Ints = microseconds // 1000 + POSTGRES_EPOCH_MS
    return found


def encoded(values: NDArray[Any], code: str) -> NDArray[np.uint8]:
    """[row, byte]: each row of `values` as an array of the database, with its length before it, as COPY BINARY wants it."""
    cells = np.empty(values.shape, _element(code))
    cells["length"], cells["value"] = int(code[1]), values
    body = cells.view(np.uint8).reshape(len(values), -1)
    head = struct.pack("!i", body.shape[1] + _HEAD.size) + _HEAD.pack(1, 0, _OIDS[code], values.shape[1], 1)
    return np.hstack((np.broadcast_to(np.frombuffer(head, np.uint8), (len(values), len(head))), body))


def _element(code: str) -> np.dtype[Any]:
    return np.dtype([("length", ">i4"), ("value", f">{code}")])


def _loader(code: str) -> type[Loader]:
    element, native = _element(code), np.dtype(code)

    class ArrayLoader(Loader):
        """A one-dimensional array without nulls, of one length at least."""

        format = Format.BINARY

        def load(self, data: Any) -> NDArray[Any]:
            cells = np.frombuffer(data, element, offset=_HEAD.size)
            return cells["value"].astype(native)

    return ArrayLoader


_LOADERS = {oid: _loader(code) for oid, code in _ARRAY_OIDS.items()}
