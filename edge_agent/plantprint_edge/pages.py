"""The agent's pages on loopback: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever looks after it.

Healthy means that the event loop answers: a restart would help where it does not. Ready means that readings are stored and
on their way to the collector; a device that fails makes an agent neither.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from plantprint_edge.status import Metrics, Snapshot

ANSWER_S_MAX = 5.0


def unready(now: Snapshot) -> list[str]:
    """What keeps readings from being stored or delivered, with a remedy each; empty when nothing does."""
    problems = []
    if now.outbox.full:
        problems.append(f"{now.outbox.full}: readings are being lost; free or repair the disk, see docs/edge.md")
    if not now.uplink.connected:
        problems.append("the broker is not connected: readings wait in the outbox; see the log line broker_unreachable")
    if now.uplink.trouble:
        problems.append(now.uplink.trouble)
    if now.uplink.twin:
        problems.append(now.uplink.twin)
    if not now.clock.dates:
        problems.append(
            f"this machine does not know the time: {now.clock.undated_rows} readings wait in memory; set it"
        )
    problems += [f"the changed configuration was refused: {problem}" for problem in now.reloads.problems]
    return problems


def serve(port: int, take: Callable[[], Snapshot]) -> Callable[[], None]:
    """Serve the pages until the returned function is called, from a loop's thread; raises `OSError` for a taken port."""
    registry = CollectorRegistry()
    registry.register(Metrics(take))
    loop = asyncio.get_running_loop()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
                case "/healthz":
                    self._judge([] if _answers(loop) else ["the event loop does not answer: restart the agent"])
                case "/readyz":
                    self._judge(unready(take()))
                case _:
                    self._answer(404, b'{"problems": ["pages are /metrics, /healthz and /readyz"]}')

        def _judge(self, problems: list[str]) -> None:
            self._answer(503 if problems else 200, json.dumps({"problems": problems}).encode())

        def _answer(self, code: int, body: bytes, content: str = "application/json") -> None:
            self.send_response(code)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Every scrape would be a line on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Page)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="pages", daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def _answers(loop: asyncio.AbstractEventLoop) -> bool:
    beat = threading.Event()
    try:
        loop.call_soon_threadsafe(beat.set)
    except RuntimeError:
        return False
    return beat.wait(ANSWER_S_MAX)
