"""Records what a program asks of its database, statement by statement, and asks it again of another database.

A record is JSON lines in gzip: `conn` numbers the connections, `sql` is the statement with its values written in, `copied`
the bytes of a COPY FROM, `rows` how many rows it gave or touched where that is certain.
"""

import gzip
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psycopg
from psycopg import AsyncConnection, Connection, sql
from psycopg.copy import LibpqWriter, Writer
from psycopg.pq import TransactionStatus

Statement = dict[str, Any]
Conn = Connection[tuple[Any, ...]]
_LIMITS = "-c timezone=UTC -c jit=off -c statement_timeout=60000 -c lock_timeout=10000"


class Recorder:
    """Everything that psycopg's cursors and transactions of this process do within `recording`."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self._connections: dict[int, tuple[int, object]] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as stack:
            for patched in self._patches():
                stack.enter_context(patched)
            yield

    def _patches(self) -> Iterator[AbstractContextManager[Any]]:
        for cursor_class in (psycopg.Cursor, psycopg.ServerCursor):
            yield patch.object(cursor_class, "execute", self._execute(cursor_class))
        yield patch.object(psycopg.AsyncCursor, "execute", self._execute_async())
        yield patch.object(psycopg.Cursor, "executemany", self._executemany())
        yield patch.object(psycopg.Cursor, "copy", self._copy())
        yield patch.object(Connection, "transaction", self._transaction())
        yield patch.object(AsyncConnection, "transaction", self._transaction_async())
        yield patch.object(Connection, "close", self._close())

    def _note(self, conn: Any, text: str, rows: int = -1, copied: bytes | None = None) -> None:
        number, _ = self._connections.setdefault(id(conn), (len(self._connections), conn))
        note: Statement = {"conn": number, "sql": text}
        if rows >= 0:
            note["rows"] = rows
        if copied is not None:
            note["copied"] = copied.hex()
        self.statements.append(note)

    def _execute(self, cursor_class: type) -> Any:
        plain = cursor_class.execute  # type: ignore[attr-defined]

        def execute(cursor: Any, query: Any, params: Any = None, **more: Any) -> Any:
            result = plain(cursor, query, params, **more)
            counted = cursor_class is psycopg.Cursor
            self._note(cursor.connection, _text(cursor.connection, query, params), cursor.rowcount if counted else -1)
            return result

        return execute

    def _execute_async(self) -> Any:
        plain = psycopg.AsyncCursor.execute

        async def execute(cursor: Any, query: Any, params: Any = None, **more: Any) -> Any:
            result = await plain(cursor, query, params, **more)
            self._note(cursor.connection, _text(cursor.connection, query, params), cursor.rowcount)
            return result

        return execute

    def _executemany(self) -> Any:
        plain = psycopg.Cursor.executemany

        def executemany(cursor: Any, query: Any, several: Any, **more: Any) -> None:
            rows = list(several)
            plain(cursor, query, rows, **more)
            for params in rows:
                self._note(cursor.connection, _text(cursor.connection, query, params))

        return executemany

    def _copy(self) -> Any:
        plain = psycopg.Cursor.copy

        @contextmanager
        def copy(cursor: Any, query: Any, params: Any = None) -> Iterator[Any]:
            kept = _Kept(cursor)
            with plain(cursor, query, params, writer=kept) as copying:
                yield copying
            self._note(cursor.connection, _text(cursor.connection, query, params), cursor.rowcount, bytes(kept.bytes))

        return copy

    def _transaction(self) -> Any:
        plain = Connection.transaction

        @contextmanager
        def transaction(conn: Any, *args: Any, **more: Any) -> Iterator[Any]:
            begin, commit, rollback = _words(conn)
            end = commit
            self._note(conn, begin)
            try:
                with plain(conn, *args, **more) as inner:
                    try:
                        yield inner
                    except BaseException:
                        end = rollback
                        raise
            finally:
                self._note(conn, end)

        return transaction

    def _transaction_async(self) -> Any:
        plain = AsyncConnection.transaction

        @asynccontextmanager
        async def transaction(conn: Any, *args: Any, **more: Any) -> AsyncIterator[Any]:
            begin, commit, rollback = _words(conn)
            end = commit
            self._note(conn, begin)
            try:
                async with plain(conn, *args, **more) as inner:
                    try:
                        yield inner
                    except BaseException:
                        end = rollback
                        raise
            finally:
                self._note(conn, end)

        return transaction

    def _close(self) -> Any:
        plain = Connection.close

        def close(conn: Any) -> None:
            if id(conn) in self._connections:
                self._note(conn, "close")
            plain(conn)

        return close


class _Kept(Writer):
    """Writes, and keeps what was written."""

    def __init__(self, cursor: Any) -> None:
        self.bytes = bytearray()
        self._plain = LibpqWriter(cursor)

    def write(self, data: Any) -> None:
        self.bytes += data
        self._plain.write(data)

    def finish(self, exc: BaseException | None = None) -> None:
        self._plain.finish(exc)


def _words(conn: Any) -> tuple[str, str, str]:
    if conn.info.transaction_status == TransactionStatus.IDLE:
        return "begin", "commit", "rollback"
    return "savepoint s", "release savepoint s", "rollback to savepoint s; release savepoint s"


def _text(conn: Any, query: Any, params: Any) -> str:
    """The statement with its values as literals."""
    if params is None:
        text: str = query.as_string(conn) if isinstance(query, sql.Composable) else query
        return text.decode() if isinstance(text, bytes) else text
    client = psycopg.ClientCursor if isinstance(conn, Connection) else psycopg.AsyncClientCursor
    written: str = client(conn).mogrify(query, _plain(params))
    return written


def _plain(params: Any) -> Any:
    """The product's dumper of arrays is binary, which cannot be written as a literal."""
    if isinstance(params, Mapping):
        return {name: _list(value) for name, value in params.items()}
    return [_list(value) for value in params]


def _list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


# ---- a record, kept and asked again


def save(path: Path, statements: list[Statement]) -> None:
    """The same statements give the same bytes."""
    lines = "".join(json.dumps(statement, ensure_ascii=False) + "\n" for statement in statements)
    path.write_bytes(gzip.compress(lines.encode(), 9, mtime=0))


def load(path: Path) -> list[Statement]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]


def ask_again(dsn: str, statements: list[Statement]) -> Iterator[str]:
    """What is not as it was: statements that fail, or give or touch another number of rows. Ends at the first that fails."""
    connections: dict[int, Conn] = {}
    try:
        for place, one in enumerate(statements):
            conn = connections.get(one["conn"])
            if one["sql"] == "close":
                if conn is not None:
                    conn.close()
                    del connections[one["conn"]]
                continue
            if conn is None:
                conn = connections[one["conn"]] = psycopg.connect(dsn, autocommit=True, options=_LIMITS)
            try:
                rows = _ask(conn, one)
            except psycopg.Error as error:
                yield f"statement {place} fails: {str(error).strip()}\n{one['sql'][:2000]}"
                return
            if one.get("rows", rows) != rows:
                yield f"statement {place} gives {rows} rows instead of {one['rows']}\n{one['sql'][:2000]}"
    finally:
        for conn in connections.values():
            conn.close()


def _ask(conn: Conn, one: Statement) -> int:
    with conn.cursor() as cursor:
        if "copied" not in one:
            return cursor.execute(one["sql"]).rowcount
        with cursor.copy(one["sql"]) as copy:
            if "from stdin" in one["sql"]:
                copy.write(bytes.fromhex(one["copied"]))
            else:
                for _ in copy:
                    pass
        return cursor.rowcount
