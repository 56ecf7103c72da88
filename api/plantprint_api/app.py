"""The application and the server around it: what runs, in which order it starts, and how it ends."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from plantprint import __version__
from plantprint_api import pages, problems
from plantprint_api.config import ApiSettings
from plantprint_api.context import Context
from plantprint_api.database import Database
from plantprint_api.live import LiveHub
from plantprint_api.middleware import Guard
from plantprint_api.pages import render
from plantprint_api.routes import alerts, batches, events, explain, grafana, operations, shipments, sites, stream

log = structlog.get_logger()

DESCRIPTION = """Carbon footprints of production batches, live. Amounts are decimal text, instants are RFC 3339 UTC with
`Z`, what is not known is null. Every error is a problem document with `place` and `remedy`."""


def create_app(settings: ApiSettings) -> FastAPI:
    """The application; it starts without its database and says so in /readyz until that is there."""
    context = Context(settings, Database(settings), LiveHub(settings))

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await context.database.open()
        hub = asyncio.create_task(context.hub.run(), name="live hub")
        hub.add_done_callback(_on_hub_end)
        try:
            yield
        finally:
            context.hub.close()
            await asyncio.gather(hub, return_exceptions=True)
            await context.database.close()

    app = FastAPI(
        title="plantprint", version=__version__, description=DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None,  # both would load scripts from elsewhere
    )  # fmt: skip
    app.state.context = context
    app.add_middleware(Guard, body_bytes_max=settings.http_body_bytes_max)
    problems.install(app)
    app.add_exception_handler(HTTPException, render.on_http)
    for module in (sites, explain, batches, shipments, events, alerts, stream, grafana, operations, pages):
        app.include_router(module.router)
    app.mount("/static", pages.static_files(), name="static")
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's documented way
    return app


def _on_hub_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("the live hub stopped by a bug, and the service with it", exc_info=task.exception())


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        parts = schema["components"]["schemas"]
        parts["Problem"] = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        for unused in ("HTTPValidationError", "ValidationError"):
            parts.pop(unused, None)
        app.openapi_schema = schema
    return app.openapi_schema


class Server(uvicorn.Server):
    """Ends event streams first, because uvicorn waits for open answers; leaves signals to `serve`."""

    def __init__(self, config: uvicorn.Config, context: Context) -> None:
        super().__init__(config)
        self._context = context

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._context.hub.failed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._context.hub.close()
        await super().shutdown(sockets)


def serve(settings: ApiSettings) -> int:
    """Serves until SIGINT or SIGTERM and returns the exit code: 0, or 1 when it could not start or go on."""
    try:
        listener = bind(settings)
    except OSError as error:
        log.error("the api cannot listen", **explain_bind(settings, error))  # noqa: TRY400 - the remedy says it all
        return 1
    with listener:
        return asyncio.run(_serve(settings, listener))


async def _serve(settings: ApiSettings, listener: socket.socket) -> int:
    app = create_app(settings)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=settings.http_shutdown_s,
    )  # fmt: skip
    server = Server(config, app.state.context)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        server.force_exit = server.should_exit  # a second signal means now
        server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    host, port = listener.getsockname()[:2]
    log.info("api listens", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await server.serve(sockets=[listener])
    return 0 if server.started and not app.state.context.hub.failed else 1


def bind(settings: ApiSettings) -> socket.socket:
    """The listening socket; raises `OSError` when the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.http_host, settings.http_port))
        # Listening here, not later in the server: only then is a port that someone else listens on refused for sure.
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def explain_bind(settings: ApiSettings, error: OSError) -> dict[str, str]:
    """What to tell the operator, as fields of a log line."""
    address = f"{settings.http_host}:{settings.http_port}"
    if error.errno == errno.EADDRINUSE:
        reason = f"{address} is taken by another program"
        remedy = "stop that program, or choose another port with PLANTPRINT_HTTP_PORT (0 takes a free one)"
    elif error.errno == errno.EACCES:
        reason, remedy = f"this user may not listen on {address}", "choose a port above 1023 with PLANTPRINT_HTTP_PORT"
    else:
        reason = f"{address} is no address of this machine ({error})"
        remedy = "set PLANTPRINT_HTTP_HOST to 127.0.0.1 or an address that `ip addr` shows"
    return {"error": reason, "remedy": remedy}
