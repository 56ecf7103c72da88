"""What tests of polled meters share: an intake that keeps rows, a device's TCP port or pseudo-terminal, readers that poll."""

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

from plantprint.wire.chunk import Row
from plantprint_edge.running import end_tasks


class Rows(list[Row]):
    """An intake that keeps what it is given."""

    async def put(self, rows: Sequence[Row], backlog_chunks_max: int | None = None) -> list[asyncio.Future[bool]]:
        self += rows
        return []


class Served(Protocol):
    """A device that is reached over TCP."""

    port: int

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


S = TypeVar("S", bound=Served)


@asynccontextmanager
async def over_tcp(device: S) -> AsyncIterator[S]:
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0)
    device.port = server.sockets[0].getsockname()[1]
    try:
        yield device
    finally:
        server.close()


@asynccontextmanager
async def on_pty(
    take: Callable[[bytes], Awaitable[list[bytes]]], size_of: Callable[[bytearray], int]
) -> AsyncIterator[str]:
    """Path of a pseudo-terminal whose far end is a line; `size_of` what has come is how long the first request will be."""
    near, far = os.openpty()
    tty.setraw(near)
    tty.setraw(far)
    loop, received, tasks = asyncio.get_running_loop(), bytearray(), set[asyncio.Task[None]]()

    async def reply(request: bytes) -> None:
        for answer in await take(request):
            os.write(near, answer)

    def readable() -> None:
        with suppress(OSError):
            received.extend(os.read(near, 4096))
        while len(received) >= (size := size_of(received)):
            tasks.add(loop.create_task(reply(bytes(received[:size]))))
            del received[:size]

    loop.add_reader(near, readable)
    try:
        yield os.ttyname(far)
    finally:
        loop.remove_reader(near)
        for task in tasks:
            task.cancel()
        os.close(near)
        os.close(far)


class Reader(Protocol):
    def run(self) -> Any: ...


@asynccontextmanager
async def polling(readers: Sequence[Reader]) -> AsyncIterator[None]:
    """The readers run as an agent runs them."""
    tasks = [asyncio.create_task(reader.run()) for reader in readers]
    try:
        yield
    finally:
        await end_tasks(tasks)
    assert all(task.cancelled() for task in tasks), "trouble with a device never ends its task"
