"""Child processes that know when they are ready: the page, the collector, and steps that must have ended."""

import re
import sys
from collections.abc import Mapping
from urllib.error import URLError
from urllib.request import urlopen

from plantprint_cli.embedded import Child, Command, Instance

_CONNECTED = re.compile(rb'^plantprint_intake_connected\{part="broker"\} 1', re.MULTILINE)
_PROBE_S = 1.0


def plantprint(env: Mapping[str, str], *arguments: str) -> Command:
    """The `plantprint` command of this very installation in another process."""
    return Command([sys.executable, "-m", "plantprint_cli", *arguments], env={**env, "PYTHONUNBUFFERED": "1"})


def _get(url: str) -> bytes | None:
    try:
        with urlopen(url, timeout=_PROBE_S) as answer:  # noqa: S310 - our own loopback address
            return bytes(answer.read()) if answer.status == 200 else None
    except (URLError, OSError):
        return None


class Page(Child):
    """The API process; ready when it answers."""

    def __init__(self, command: Command, instance: Instance, url: str) -> None:
        super().__init__("api", command, instance.log("api"))
        self._url = url

    def is_ready(self) -> bool:
        """Whether /healthz says 200."""
        return self.is_alive() and _get(f"{self._url}/healthz") is not None


class Collector(Child):
    """The collector process; ready when it has subscribed, so that what agents send first need not be sent twice."""

    def __init__(self, env: Mapping[str, str], instance: Instance) -> None:
        self._port = instance.port("collector-metrics")
        command = plantprint({**env, "PLANTPRINT_METRICS_PORT": str(self._port)}, "collect")
        super().__init__("collector", command, instance.log("collector"))

    def is_ready(self) -> bool:
        """Whether its metrics say that the broker is connected; the database it asks for with the first message."""
        page = _get(f"http://127.0.0.1:{self._port}/metrics") if self.is_alive() else None
        return page is not None and _CONNECTED.search(page) is not None


class OneShot(Child):
    """A process that the parts after it need to have finished: ready only by its end with code 0."""

    def is_ready(self) -> bool:
        """Never while it runs; the supervisor goes on when it has ended well."""
        return False
