"""The agent as a process of its own, and a meter whose every reading is another one."""

import asyncio
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN = "import sys; from pathlib import Path; from plantprint_edge.agent import run_file; sys.exit(run_file(Path(sys.argv[1])))"
QUICK = "resend_after_s: 0.5, resend_s_max: 1, backoff_s_min: 0.05, backoff_s_max: 0.3"


def meters(port: int, n: int = 5) -> str:
    return "".join(
        f"""
  - source: modbus
    name: m{i}
    host: 127.0.0.1
    port: {port}
    interval_s: 0.05
    points: [{{name: c{i}, addr: 0, type: u32, kind: counter, unit: kWh, decimals: 0}}]
"""
        for i in range(n)
    )


def start(folder: Path, clock: str = '{"kind": "wall"}') -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder / "agent.yaml")],
        env={**os.environ, "PLANTPRINT_CLOCK": clock},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: subprocess.Popen[str], timeout_s: float = 30) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=timeout_s)
    finally:
        process.kill()
    return process.returncode, output


@contextmanager
def counting_device() -> Iterator[int]:
    """A Modbus server whose register counts its own reads, so that every reading is another one."""
    loop = asyncio.new_event_loop()
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        try:
            while True:
                request = await reader.readexactly(12)
                count += 1
                writer.write(request[:4] + struct.pack(">HBBBI", 7, request[6], 3, 4, count))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()
