"""Connections of the collector to the database: one session set-up, and numpy arrays as parameters."""

import struct
import time
from typing import Any, TypeVar

import numpy as np
import psycopg
from psycopg import Connection
from psycopg.abc import PQGen
from psycopg.adapt import Dumper
from psycopg.pq import Format

Conn = Connection[tuple[Any, ...]]

Answer = TypeVar("Answer")

# A server that is well ends a statement itself, and says so; a hung one gets this much longer.
_GRACE_S = 5.0
# Either side knows after 25 s that the other's machine has vanished.
_KEEPALIVE_S, _KEEPALIVE_AGAIN_S, _KEEPALIVES = 10, 5, 3
_SERVER_KEEPALIVES = (
    f"-c tcp_keepalives_idle={_KEEPALIVE_S} -c tcp_keepalives_interval={_KEEPALIVE_AGAIN_S}"
    f" -c tcp_keepalives_count={_KEEPALIVES} -c tcp_user_timeout=25000"
)
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


class NoAnswerError(psycopg.OperationalError):
    """The server said nothing for too long: it hangs, is stopped, or has vanished."""


class ImpatientConnection(Connection[tuple[Any, ...]]):
    """Waits for each answer at most `answer_s`, by this process's own clock, then closes itself with `NoAnswerError`.

    A server's statement_timeout ends nothing where the server hangs, and the kernel of its machine goes on confirming packets.
    """

    answer_s = float("inf")

    def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        try:
            return super().wait(_within(gen, self.answer_s), *args, **kwargs)
        except NoAnswerError:
            self.pgconn.finish()
            raise


def _within(gen: PQGen[Answer], limit_s: float) -> PQGen[Answer]:
    """The same waits; psycopg asks every 0.1 s, whether something came or not."""
    until_s = time.monotonic() + limit_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until_s:
                gen.close()
                raise NoAnswerError(f"no answer from the database within {limit_s:g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def connect(
    dsn: str,
    *,
    application: str,
    timeout_s: float,
    connect_timeout_s: int = 5,
    silent_s: float | None = None,
    idle_s: float = 0.0,
) -> Conn:
    """An autocommit connection in UTC whose statements end after `timeout_s`; raises psycopg's errors.

    TCP keep-alives and the user timeout make a server that vanished without a word an error within the same time; for one
    that hangs there is the connection's own limit, a little longer. The server for its part ends the session, and what it
    holds, when this process is silent for `silent_s` inside a transaction (None: `timeout_s`) or for `idle_s` outside of one
    (0: never), or when its machine has vanished.
    """
    timeout_ms = int(timeout_s * 1000)
    silent_ms = timeout_ms if silent_s is None else int(silent_s * 1000)
    conn = ImpatientConnection.connect(
        dsn,
        autocommit=True,
        application_name=application,
        connect_timeout=connect_timeout_s,
        # Compiling takes seconds where what it is for takes milliseconds: estimates of arrays and spans are far too high.
        options="-c timezone=UTC -c jit=off "
        f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={silent_ms} "
        f"-c idle_session_timeout={int(idle_s * 1000)} {_SERVER_KEEPALIVES}",
        keepalives_idle=_KEEPALIVE_S,
        keepalives_interval=_KEEPALIVE_AGAIN_S,
        keepalives_count=_KEEPALIVES,
        tcp_user_timeout=timeout_ms,
    )
    conn.answer_s = timeout_s + _GRACE_S
    conn.adapters.register_dumper(np.ndarray, Int8ArrayDumper)
    return conn
