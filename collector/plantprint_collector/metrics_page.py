"""The collector's `/metrics` on a loopback port, when one is set."""

from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

HOST = "127.0.0.1"


def serve_metrics(registry: CollectorRegistry, port: int) -> WSGIServer | None:
    """Starts serving; None when `port` is 0, which means off."""
    if not port:
        return None
    server, _ = start_http_server(port, addr=HOST, registry=registry)
    return server
