"""The promise of the whole chain: whatever is killed, the store holds exactly what the meters emitted, once.

Real processes, at about 2 000 readings a second, under SIGKILL every second (see `delivery_storm`). `PLANTPRINT_TEST_SEED`
repeats a plan; the seed and every kill are printed. The same test must fail with an edge that deletes on PUBACK, and with
a collector that acknowledges before its commit: else it would prove nothing.
"""

import os
import random
import time
from contextlib import ExitStack
from typing import Any

import pytest
from delivery_checks import (
    LossError,
    check_chunks,
    check_events,
    check_ledger,
    check_readings,
    reported,
    running,
    until,
)
from delivery_hostile import Hostile
from delivery_mes import Mes
from delivery_meters import CHANNELS, STEPS_PER_HOUR, Meters
from delivery_storm import Storm, make_pauses, make_plan

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

KILLS_MIN, KILLS_EACH_MIN = 30, 5
READINGS_PER_S_MIN = 1000
DRAIN_S_MAX = 60.0
STARTS_IN_S = 4.0


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
def test_kills_lose_nothing_and_double_nothing(wrong: str, broker_url: str, site: str, record_property: Any) -> None:
    seed = int(os.environ.get("PLANTPRINT_TEST_SEED") or random.SystemRandom().randrange(10**6))
    report: dict[str, Any] = {"seed": seed, "wrong": wrong or "nothing"}
    meters = Meters(broker_url, site, STARTS_IN_S)
    with (
        running(site, meters, broker_url, wrong, with_api=not wrong) as rig,
        reported(report, record_property),
        ExitStack() as stack,
    ):
        mes = None if wrong else stack.enter_context(Mes(rig.mqtt_url, rig.api_url, site, meters.clock))
        until(lambda: rig.flows_since(0), 30.0, "the first readings are acknowledged")
        # An edge that deleted its channel tables on PUBACK may stand still until its next start.
        storm = Storm(rig, random.Random(seed), flow_s_max=3.0 if wrong == "edge" else 30.0)
        report["kills"] = storm.kills
        before = meters.last_step
        storm.rage(make_plan(random.Random(seed), *(["api"] if mes else [])))
        calm_s = time.time()
        report |= {"storm_s": round(storm.lasted_s, 1), "standstills": storm.standstills}
        report["readings_per_s"] = round((meters.last_step - before) * CHANNELS / storm.lasted_s)
        meters.finish()
        until(rig.drained, calm_s + DRAIN_S_MAX - time.time(), "all is read and acknowledged, and the outbox empty")
        report["drained_s"] = round(time.time() - calm_s, 1)
        if mes:
            mes.finish(hours=meters.last_step // STEPS_PER_HOUR)
        assert rig.edge.stop(), "the edge does not stop when asked to"
        assert rig.edge.exit_code == 0, str(rig.edge.failure("ended with an error"))

        check_readings(rig, meters, report)
        check_chunks(rig, meters, report)
        check_ledger(rig, meters, report)
        if mes:
            check_events(rig, meters, mes, report)
        check_load(storm, report)


def check_load(storm: Storm, report: dict[str, Any]) -> None:
    """That it was a storm, that the meters did not wait for its end, and that readings got through in its pauses."""
    kills = storm.kills_by_process()
    assert not storm.standstills
    assert len(storm.kills) >= KILLS_MIN, kills
    assert min(kills.values()) >= KILLS_EACH_MIN, kills
    assert report["readings_per_s"] >= READINGS_PER_S_MIN


def test_pauses_spoilt_messages_and_a_restored_backup_lose_and_double_nothing(
    broker_url: str, site: str, record_property: Any
) -> None:
    """SIGSTOP, a broker that remembers its past wrongly, somebody who sends every chunk again in all wrong ways, and a
    database that is put back by some seconds while agents, broker and collector run."""
    seed = int(os.environ.get("PLANTPRINT_TEST_SEED") or random.SystemRandom().randrange(10**6))
    draw = random.Random(seed)
    report: dict[str, Any] = {"seed": seed}
    meters = Meters(broker_url, site, STARTS_IN_S)
    with running(site, meters, broker_url, persistent=True) as rig, reported(report, record_property):
        until(lambda: rig.flows_since(0), 30.0, "the first readings are acknowledged")
        storm = Storm(rig, draw, flow_s_max=30.0)
        report["kills"] = storm.kills
        with Hostile(rig.mqtt_url, site, random.Random(seed)) as hostile:
            plan = make_pauses(draw)
            rig.dump()
            storm.rage(plan[::2])
            before = rig.stored()[0]
            rig.restore()
            report["put_back"] = before - rig.stored()[0]
            restored_s = time.time()
            storm.rage(plan[1::2])
            until(lambda: rig.flows_since(restored_s), 30.0, "something is stored after the restore")
        report |= {"spoilt": dict(hostile.sent), "pauses": len(storm.pauses)}
        meters.finish()
        until(rig.drained, DRAIN_S_MAX, "all is read and acknowledged, and the outbox empty")
        assert rig.edge.stop(), "the edge does not stop when asked to"

        check_readings(rig, meters, report, empty=("reading_conflict", "rejected_reading", "gap"))
        check_chunks(rig, meters, report)
        check_ledger(rig, meters, report)
        assert report["put_back"] > READINGS_PER_S_MIN, "the backup was too young to tell"
        assert min(hostile.sent[kind] for kind in Hostile.KINDS) > 0, hostile.sent
        letters = dict(rig.query("select acknowledged, count(*) from dead_letter group by 1"))
        assert letters.keys() == {False}, "what was spoilt on its way is set aside, and its agent sends it again"
        assert rig.query("select distinct code from issue where code = 'wire_version'") == [("wire_version",)]
