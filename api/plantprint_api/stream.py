"""The answer that is a stream of server-sent events: latest values only, heartbeats, a prompt end."""

import asyncio
from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from plantprint_api import metrics
from plantprint_api.live import Client, LiveHub

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # a proxy that collects the stream would defeat it
}
RETRY = b"retry: 2000\n\n"
HEARTBEAT = b": still here\n\n"


class EventStream(Response):
    """Sends what `client` has pending until it leaves, reads nothing for too long, or the hub closes."""

    def __init__(self, hub: LiveHub, client: Client, *, heartbeat_s: float, send_timeout_s: float) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._hub = hub
        self._client = client
        self._heartbeat_s = heartbeat_s
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        leaving = asyncio.create_task(_left(receive), name="stream client leaving")
        sending = asyncio.create_task(self._send_all(send), name="stream client sending")
        try:
            await asyncio.wait({leaving, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.unsubscribe(self._client)
            for task in (leaving, sending):
                task.cancel()
            results = await asyncio.gather(leaving, sending, return_exceptions=True)
        _raise_bugs(results)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        piece = RETRY
        while True:
            try:
                async with asyncio.timeout(self._send_timeout_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                metrics.STREAM_DROPPED.inc()
                return
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    await self._client.wake.wait()
            except TimeoutError:
                piece = HEARTBEAT
                continue
            if self._hub.closing.is_set():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            piece = self._client.take()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _raise_bugs(results: Iterable[BaseException | None]) -> None:
    for result in results:
        # OSError is how a server says that the client has left in the middle of a send.
        if isinstance(result, BaseException) and not isinstance(result, (asyncio.CancelledError, OSError)):
            raise result
