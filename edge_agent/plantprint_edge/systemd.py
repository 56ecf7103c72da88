"""What systemd is told: that the agent is ready, reloads, stops, and, while its event loop turns, that it is alive."""

import asyncio
import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger(__name__)


def notify(state: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send `state` where NOTIFY_SOCKET says; nothing without it, that is, without systemd."""
    address = environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state.encode())
    except OSError as error:
        log.warning("systemd_not_told", state=state, reason=str(error), remedy="check NotifyAccess of the unit")


def reloading(environ: Mapping[str, str] = os.environ) -> None:
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", environ)


async def keep_watchdog(environ: Mapping[str, str] = os.environ) -> None:
    """Tell systemd thrice per WATCHDOG_USEC that the event loop turns; ends at once where there is no watchdog."""
    limit_s = int(environ.get("WATCHDOG_USEC") or 0) / 1_000_000
    while limit_s > 0:
        notify("WATCHDOG=1", environ)
        await asyncio.sleep(limit_s / 3)
