"""A gateway that was cloned and runs twice, and one put back from an old backup: real agents under one identity."""

import shutil
import signal
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from collector_harness import READINGS, metric, running, settings
from delivery_rig import OutboxContent, read_outbox
from edge_process import QUICK, counting_device, end, meters, start
from edge_support import IDLE_SOURCE, config
from fake_agent import query, wait_until

from plantprint_cli.embedded.ports import find_free_port
from plantprint_edge.status import status_of

pytestmark = pytest.mark.integration

TOP = "status_every_s: 0.1"


def test_a_clone_beside_its_original_and_a_restored_copy_lose_and_double_nothing(
    tmp_path: Path, database_url: str, broker_url: str, site: str
) -> None:
    """All three hold what was undelivered when the disk was copied, read the same meters, and count on from there."""
    gateway, clone, restored = (tmp_path / name for name in ("gateway", "clone", "restored"))
    gateway.mkdir()
    with counting_device() as port, ExitStack() as killed:
        page = find_free_port(set())
        config(gateway, meters(port), f"{TOP}\nmetrics_port: {page}", site=site, url=broker_url, uplink=QUICK)
        original = start(gateway)
        killed.callback(original.kill)
        wait_until(lambda: said(gateway, original).get("readings", 0) > 50, "readings that no collector takes")
        original.send_signal(signal.SIGSTOP)
        for copy in (clone, restored):
            shutil.copytree(gateway, copy)
            config(copy, meters(port), TOP, site=site, url=broker_url, uplink=QUICK)
        original.send_signal(signal.SIGCONT)
        copied = start(clone)
        killed.callback(copied.kill)
        with running(settings(database_url, broker_url, site)) as intake:
            both = ((gateway, original), (clone, copied))
            wait_until(lambda: all(uplink(*one).get("twin_signs", 0) > 2 for one in both), "each hears of the other")
            wait_until(lambda: all(uplink(*one)["acked"] > 20 for one in both), "both deliver all the same")
            with pytest.raises(urllib.error.HTTPError) as told:
                urllib.request.urlopen(f"http://127.0.0.1:{page}/readyz", timeout=10)
            assert "another agent of this site has the same id" in told.value.read().decode()
            for _, process in both:
                stop(process)
            put_back = start(restored)
            killed.callback(put_back.kill)
            wait_until(lambda: uplink(restored, put_back).get("acked", 0) > 20, "the old copy delivers too")
            assert uplink(restored, put_back)["twin"] == ""
            stop(put_back)
            for folder in (gateway, clone, restored):
                drain(folder, site, broker_url)
            conflicts = metric(intake, "conflicts_total")
        check(database_url, [read_outbox(f / "outbox.db") for f in (gateway, clone, restored)], conflicts)


def said(folder: Path, process: Popen[str]) -> dict[str, Any]:
    """The status of an agent as it runs now."""
    try:
        status = status_of(folder / "outbox.db")
    except FileNotFoundError:
        return {}
    return status if status["pid"] == process.pid else {}


def uplink(folder: Path, process: Popen[str]) -> dict[str, Any]:
    found: dict[str, Any] = said(folder, process).get("uplink", {})
    return found


def stop(process: Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    code, output = end(process)
    assert code == 0, output


def drain(folder: Path, site: str, broker_url: str) -> None:
    """A life that reads nothing new hands over what is left."""
    config(folder, IDLE_SOURCE, TOP, site=site, url=broker_url, uplink=QUICK)
    last = start(folder)
    wait_until(lambda: said(folder, last).get("outbox", {}).get("unacked_chunks", 1) == 0, "all drains")
    stop(last)


def check(database_url: str, outboxes: list[OutboxContent], conflicts: float) -> None:
    """The store holds each instant that any of them read, once, with the highest value; unequal ones are counted."""
    expected: dict[tuple[str, int], int] = {}
    unequal = 0
    for content in outboxes:
        for key, value in content.readings.items():
            unequal += expected.get(key, value) != value
            expected[key] = max(value, expected.get(key, value))
    rows = query(database_url, READINGS)
    assert {(name, t_ms): value for name, t_ms, value, _, _ in rows} == expected
    assert len(rows) == len(expected)
    seqs: dict[str, set[int]] = {}
    for content in outboxes:
        assert content.unacked_chunks == 0
        for epoch, known in content.seqs.items():
            seqs.setdefault(epoch, set()).update(known)
    received = query(database_url, "select epoch, chunks::text from received order by epoch")
    assert received == [(epoch, f"{{[0,{len(known)})}}") for epoch, known in sorted(seqs.items())]
    assert len(seqs) == 6, "every start has numbers of its own"
    assert conflicts == unequal
    assert unequal > 0, "the two never read at one instant: too mild to tell"
