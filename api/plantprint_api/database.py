"""The api's connections: a pool that reads by default, and the named statements of `queries.sql`."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.abc import PQGen
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from plantprint_api.config import ApiSettings

Row = DictRow
Answer = TypeVar("Answer")

SCHEMA_VERSION_MIN = 7
"""Number of the migration that the statements here rely on."""


@cache
def queries() -> Mapping[str, bytes]:
    """The statements by the name in their `-- name:` line."""
    text = resources.files("plantprint_api").joinpath("queries.sql").read_text("utf-8")
    found: dict[str, bytes] = {}
    for block in text.split("-- name: ")[1:]:
        name, _, statement = block.partition("\n")
        found[name.strip()] = statement.strip().encode()
    return found


async def rows(connection: AsyncConnection[Row], name: str, **parameters: Any) -> list[Row]:
    """All rows of the statement `name`, which bounds them itself."""
    cursor = await connection.execute(queries()[name], parameters)
    return await cursor.fetchall()


class NoAnswerError(OperationalError):
    """The server said nothing for too long: it hangs, is stopped, or has vanished."""


class ImpatientConnection(AsyncConnection[Row]):
    """Waits for each answer at most `answer_s`, by this process's own clock, then closes itself with `NoAnswerError`.

    A server's statement_timeout ends nothing where the server hangs, and the kernel of its machine goes on confirming packets.
    """

    answer_s = float("inf")

    async def wait(self, gen: PQGen[Answer], *args: Any, **kwargs: Any) -> Answer:
        try:
            return await super().wait(_within(gen, self.answer_s), *args, **kwargs)
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


async def connect(settings: ApiSettings) -> ImpatientConnection:
    """One connection of its own, reading only, each statement a transaction; for the listener."""
    connection = await ImpatientConnection.connect(
        settings.database_url.get_secret_value(), autocommit=True, row_factory=dict_row, **_options(settings)
    )
    connection.answer_s = settings.answer_s
    return connection


def _options(settings: ApiSettings) -> dict[str, Any]:
    return {
        "options": f"-c statement_timeout={settings.http_statement_timeout_ms} -c timezone=UTC -c jit=off "
        "-c default_transaction_read_only=on -c idle_in_transaction_session_timeout=60000",
        "application_name": "plantprint-api",
        "connect_timeout": 5,
    }


class Database:
    """Waits at most `http_connection_wait_s` for a connection and then raises `psycopg_pool.PoolTimeout`.

    As long each connection has to show that its server still answers before it is given out.
    """

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._pool = AsyncConnectionPool[ImpatientConnection](
            settings.database_url.get_secret_value(),
            connection_class=ImpatientConnection,
            kwargs={"row_factory": dict_row, "autocommit": True, **_options(settings)},
            min_size=1,
            max_size=settings.http_connections_max,
            timeout=settings.http_connection_wait_s,
            check=self._check,
            open=False,
            name="plantprint-api",
        )

    async def _check(self, connection: ImpatientConnection) -> None:
        connection.answer_s = self._settings.http_connection_wait_s
        await connection.execute("")
        connection.answer_s = self._settings.answer_s

    async def open(self) -> None:
        """Starts connecting; the database may come later."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close()

    async def rows(self, name: str, **parameters: Any) -> list[Row]:
        async with self._pool.connection() as connection:
            return await rows(connection, name, **parameters)

    async def find(self, name: str, **parameters: Any) -> Row | None:
        found = await self.rows(name, **parameters)
        return found[0] if found else None

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection[Row]]:
        """A transaction that may write and has committed when the block has ended."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute("set transaction read write")
            yield connection
