"""The promise of the whole chain: whatever is killed, the store holds exactly what the meters emitted, once.

Real processes, at about 2 000 readings a second, under SIGKILL every second (see `delivery_storm`). `PLANTPRINT_TEST_SEED`
repeats a plan; the seed and every kill are printed. The same test must fail with an edge that deletes on PUBACK, and with
a collector that acknowledges before its commit: else it would prove nothing.
"""

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from delivery_meters import CHANNELS, Meters
from delivery_rig import Rig
from delivery_storm import Storm, make_plan

from plantprint.times import from_ms
from plantprint_cli.embedded import temporary_instance

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

KILLS_MIN, KILLS_EACH_MIN = 30, 5
READINGS_PER_S_MIN = 1000
DRAIN_S_MAX = 60.0
SETTLE_S_MAX = 60.0
STARTS_IN_S = 4.0


class LossError(AssertionError):
    """The meters emitted what the store does not hold."""


def must_lose(wrong: str, reason: str) -> Any:
    return pytest.param(
        wrong, marks=pytest.mark.xfail(raises=LossError, strict=True, reason=reason), id=f"wrong-{wrong}"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param("", id="as-built"),
        must_lose("edge", "an edge that deletes on PUBACK loses what dies with the broker"),
        must_lose("collector", "a collector that acknowledges before its commit loses what dies with the database"),
    ],
)
def test_kills_lose_nothing_and_double_nothing(wrong: str, broker_url: str, site: str, capsys: Any) -> None:
    seed = int(os.environ.get("PLANTPRINT_TEST_SEED") or random.SystemRandom().randrange(10**6))
    report: dict[str, Any] = {"seed": seed, "wrong": wrong or "nothing"}
    meters = Meters(broker_url, site, STARTS_IN_S)
    with running(site, meters, broker_url, wrong) as rig, reported(report, capsys):
        until(lambda: rig.flows_since(0), 30.0, "the first readings are acknowledged")
        # An edge that deleted its channel tables on PUBACK may stand still until its next start.
        storm = Storm(rig, random.Random(seed), flow_s_max=3.0 if wrong == "edge" else 30.0)
        report["kills"] = storm.kills
        before = meters.last_step
        storm.rage(make_plan(random.Random(seed)))
        calm_s = time.time()
        report |= {"storm_s": round(storm.lasted_s, 1), "standstills": storm.standstills}
        report["readings_per_s"] = round((meters.last_step - before) * CHANNELS / storm.lasted_s)
        meters.finish()
        until(rig.drained, calm_s + DRAIN_S_MAX - time.time(), "all is read and acknowledged, and the outbox empty")
        report["drained_s"] = round(time.time() - calm_s, 1)
        assert rig.edge.stop(), "the edge does not stop when asked to"

        check_readings(rig, meters, report)
        check_chunks(rig, meters, report)
        check_ledger(rig, meters, report)
        check_load(storm, report)


@contextmanager
def running(site: str, meters: Meters, meters_url: str, wrong: str) -> Iterator[Rig]:
    with temporary_instance() as instance:
        rig = Rig(instance, site, meters, meters_url, wrong)
        try:
            rig.start()
            meters.start()
            yield rig
        except BaseException:
            rig.show_logs()
            raise
        finally:
            rig.kill_all()


@contextmanager
def reported(report: dict[str, Any], capsys: Any) -> Iterator[None]:
    """One line of JSON, however the test ends."""
    try:
        yield
    finally:
        kills = report.pop("kills", [])
        by_process: dict[str, list[list[float]]] = {}
        for kill in kills:
            by_process.setdefault(kill.process, []).append([kill.at_s, kill.pid])
        with capsys.disabled():
            print("\n" + json.dumps({**report, "kills": len(kills), "kills_at_s_and_pid": by_process}))


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"after {timeout_s:.0f} s still not: {what}"
        time.sleep(0.1)


def check_readings(rig: Rig, meters: Meters, report: dict[str, Any]) -> None:
    """Content identical to what the meters emitted, nothing doubled, nothing set aside."""
    emitted, (rows, stored) = meters.emitted, rig.stored()
    report |= {"emitted": len(emitted), "stored": rows}
    lost = emitted.keys() - stored.keys()
    report["lost"] = len(lost)
    if lost:
        raise LossError(f"{len(lost)} of {len(emitted)} readings are not in the store; the first: {sorted(lost)[:3]}")
    assert rows == len(stored), "a reading is stored twice"
    assert not stored.keys() - emitted.keys(), "the store holds what no meter emitted"
    unequal = [key for key, value in emitted.items() if stored[key] != value]
    assert not unequal, f"the store holds other values than the meters emitted: {unequal[:3]}"
    for table in ("reading_conflict", "rejected_reading", "dead_letter", "gap"):
        assert rig.query(f"select count(*) from {table}") == [(0,)], f"there is something in {table}"
    assert rig.query("select count(*) from channel") == [(CHANNELS,)], "a channel was declared twice"


def check_chunks(rig: Rig, meters: Meters, report: dict[str, Any]) -> None:
    """What the edge ever committed is what it read and what the store received, chunk by chunk, without a hole."""
    outbox, received = rig.outbox(), rig.received()
    rig.count_repeats()
    report |= {
        "chunks": sum(map(len, received.values())),
        "epochs": len(received),
        "repeated_chunks_refused": rig.repeated_chunks,
        "repeated_readings_refused": outbox.repeated_rows,
    }
    assert outbox.unacked_chunks == 0
    assert outbox.readings == meters.emitted, "the edge has not committed what the meters emitted"
    assert received == outbox.seqs, "the store has received other chunks than the edge has committed"
    assert all(seqs == set(range(len(seqs))) for seqs in received.values()), "an epoch has a hole"
    assert rig.repeated_chunks > 0, "no chunk was ever sent twice: the storm was too mild to tell"


def check_ledger(rig: Rig, meters: Meters, report: dict[str, Any]) -> None:
    """The ledger's sums are what the meters counted, hour by hour, and the auditor finds nothing."""
    wanted = {from_ms(hour_ms): amount for hour_ms, amount in meters.consumption_by_hour().items()}

    def settled() -> bool:
        hours = "select count(*) from accounted_hour where site = %s and status = 'settled' and hour_at = any(%s)"
        marks = "select count(*) from dirty where site = %s"
        return rig.query(marks, (rig.site,)) == [(0,)] and rig.query(hours, (rig.site, list(wanted))) == [
            (len(wanted),)
        ]

    until(settled, SETTLE_S_MAX, "every hour is settled and every mark worked in")
    assert rig.collector.stop(), "the collector does not stop when asked to"
    posted = dict(rig.query("select hour_at, sum(amount) from posting where site = %s group by 1", (rig.site,)))
    assert {hour: posted.get(hour) for hour in wanted} == wanted, "the ledger differs from the meters"
    assert not any(amount for hour, amount in posted.items() if hour not in wanted), "the ledger holds made-up hours"
    corrections = rig.query("select count(*) from posting where cause like 'reversal%%' and site = %s", (rig.site,))
    report |= {"hours": len(wanted), "reversals": corrections[0][0]}
    audit = rig.audit()
    assert audit["clean"], audit
    (site,) = audit["sites"]
    assert (site["pending_marks"], site["outstanding"]) == (0, {}), site
    assert site["hours"] >= len(wanted), site


def check_load(storm: Storm, report: dict[str, Any]) -> None:
    """That it was a storm, that the meters did not wait for its end, and that readings got through in its pauses."""
    kills = storm.kills_by_process()
    assert not storm.standstills
    assert len(storm.kills) >= KILLS_MIN, kills
    assert min(kills.values()) >= KILLS_EACH_MIN, kills
    assert report["readings_per_s"] >= READINGS_PER_S_MIN
