"""The collector's `/metrics`, `/healthz` and `/readyz` on a port of their own, when one is set."""

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

Checks = Callable[[], Mapping[str, bool]]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it overrides
        """A scrape every few seconds is no news."""


def serve_metrics(
    registry: CollectorRegistry, host: str, port: int, *, alive: Checks, ready: Checks
) -> WSGIServer | None:
    """Starts serving; None when `port` is 0, which means off. Raises `OSError` where `host` and `port` cannot be had.

    `/healthz` says 200 while every check of `alive` holds, else 503: start the process anew. `/readyz` does so for
    `ready`: what it names is away, and a new start would not help.
    """
    if not port:
        return None
    metrics = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        checks = {"/healthz": alive, "/readyz": ready}.get(environ.get("PATH_INFO", ""))
        if checks is None:
            found: Iterable[bytes] = metrics(environ, start_response)
            return found
        said = checks()
        status = "200 OK" if all(said.values()) else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [json.dumps(dict(said)).encode()]

    server = make_server(host, port, app, _ServerV6 if ":" in host else _Server, _Quiet)
    threading.Thread(target=server.serve_forever, name="metrics-page", daemon=True).start()
    return server
