"""Debian's Chromium for tests of pages, started once a run; in CI it must be there."""

import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from parts import find_program, missing
from playwright.async_api import Browser, async_playwright

from plantprint_cli.embedded import Child, Command
from plantprint_cli.embedded.logs import SizeLimitedLog

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
]  # fmt: skip
START_S_MAX = 60.0

_ANSWER_MS = 120_000


@pytest.fixture(scope="session")
def chromium() -> Iterator[str]:
    """Where it listens for commands."""
    program = find_program("chromium") or find_program("chromium-browser") or find_program("google-chrome")
    if program is None:
        missing("Chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="plantprint-chromium-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command = Command([program, *ARGUMENTS, f"--user-data-dir={folder / 'profile'}"], cwd=folder)
        with Child("chromium", command, SizeLimitedLog(folder / "log", 1_000_000)) as child:
            yield _address(child, folder / "profile" / "DevToolsActivePort")


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """The test's own view of it, without cookies or pages of another; what it opens is closed with it."""
    async with async_playwright() as playwright:
        # Once it has begun to listen, on a busy machine it can be long in answering.
        opened = await playwright.chromium.connect_over_cdp(chromium, timeout=_ANSWER_MS)
        yield opened
        await opened.close()


def _address(child: Child, file: Path) -> str:
    """Chromium writes its port and a path into a file once it listens."""
    deadline_s = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline_s:
        if not child.is_alive():
            raise child.failure("ended at start")
        lines = file.read_text("ascii").splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.02)
    raise child.failure(f"does not listen after {START_S_MAX} s")
