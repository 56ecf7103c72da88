"""Connections of the collector to the database: one session set-up, and numpy arrays as parameters."""

import struct
from typing import Any

import numpy as np
import psycopg
from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

Conn = Connection[tuple[Any, ...]]

_INT8_OID, _INT8_ARRAY_OID = 20, 1016
_ELEMENT = np.dtype([("length", ">i4"), ("value", ">i8")])


class Int8ArrayDumper(Dumper):
    """A one-dimensional int64 array as a binary int8[]: a tenth of the time of a list."""

    format = Format.BINARY
    oid = _INT8_ARRAY_OID

    def dump(self, obj: Any) -> bytes:
        elements = np.empty(len(obj), _ELEMENT)
        elements["length"] = 8
        elements["value"] = obj
        dimensions = 1 if len(obj) else 0
        head = struct.pack("!iii", dimensions, 0, _INT8_OID)
        return head + (struct.pack("!ii", len(obj), 1) + elements.tobytes() if dimensions else b"")


def connect(dsn: str, *, application: str, timeout_s: float, connect_timeout_s: int = 5) -> Conn:
    """An autocommit connection in UTC whose statements end after `timeout_s`; raises psycopg's errors.

    TCP keep-alives and the user timeout make a server that vanished without a word an error within the same time.
    """
    timeout_ms = int(timeout_s * 1000)
    conn = psycopg.connect(
        dsn,
        autocommit=True,
        application_name=application,
        connect_timeout=connect_timeout_s,
        options=f"-c timezone=UTC -c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={timeout_ms}",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=timeout_ms,
    )
    conn.adapters.register_dumper(np.ndarray, Int8ArrayDumper)
    return conn
