"""Facts that contradict each other on a real database: on the batches they touch, over HTTP, and gone when corrected."""

from collections.abc import Iterator
from typing import Any

import fixtures_api as f
import pytest
from ledger_rig import SITE, Rig, mill, steady

from plantprint.facts import Reading

pytestmark = pytest.mark.integration

HOUR_S = 3600
EXCLUSIVE = [
    {"id": "wash", "name": {"en": "wash"}},
    {"id": "dye", "name": {"en": "dye"}, "rule": "exclusive"},
]


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill(steps=EXCLUSIVE))
        made.declare()
        yield made


def reasons(rig: Rig) -> set[tuple[str, str, str]]:
    return {(b, c, p) for b, c, p in rig.rows("select batch, code, place from batch_reason")}


async def told(rig: Rig, batch: str) -> tuple[Any, list[str], bool]:
    """Over HTTP: whether a batch is incomplete, for which reasons, and whether the list says so too."""
    async with f.served(f.settings(rig.dsn)) as client:
        answer = await client.get(f"/v1/batches/{batch}/footprint", params={"site": SITE})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        items = (await client.get("/v1/batches", params={"site": SITE})).json()["items"]
    (listed,) = [one["incomplete"] for one in items if one["batch"] == batch]
    return body["incomplete"], [one["code"] for one in body["product_footprint"]["reasons"]], bool(listed)


async def test_more_out_than_in_is_on_every_batch_behind_the_bus_until_the_readings_are_corrected(rig: Rig) -> None:
    rig.job("j1", "u1", 0, HOUR_S + 60, batch="b1")
    rig.job("j2", "u2", HOUR_S + 600, None, batch="b2")
    good = {meter: steady(meter, 0, 3 * HOUR_S) for meter in ("m1", "m2", "gas")}
    rig.store({**good, "incomer": steady("incomer", 0, 3 * HOUR_S, per_hour=30)})
    rig.run()
    b1 = ("b1", "disagreement", "bus")
    assert reasons(rig) == {b1, ("b2", "disagreement", "bus")}
    assert rig.live("batch", "b2")["incomplete"]
    assert rig.live("batch", "b2")["reasons"] == []  # nothing is known of the open hour yet
    assert await told(rig, "b1") == (True, ["disagreement"], True)
    assert await told(rig, "b2") == (True, ["disagreement"], True)
    rig.assert_clean()
    rig.conn.execute("update batch_reason set batch = 'b9' where batch = 'b1'")
    assert {one.check for one in rig.audit().findings} == {"contradictions"}
    fixed = [Reading(r.t_ms, r.value, revision=1) for r in steady("incomer", 0, 3 * HOUR_S)]
    rig.store({"incomer": fixed})
    rig.run()
    assert reasons(rig) == set()
    assert not rig.live("batch", "b2")["incomplete"]
    assert await told(rig, "b1") == (False, [], False)
    rig.assert_clean()


async def test_jobs_that_exclude_each_other_are_told_live_and_in_the_statement(rig: Rig) -> None:
    rig.event("order", 0, batch="b2", quantity=10, unit="kg")
    rig.job("j1", "u1", 3 * HOUR_S + 60, 3 * HOUR_S + 600, batch="b1")
    rig.job("j2", "u1", 3 * HOUR_S + 300, 3 * HOUR_S + 900, batch="b2")
    rig.steady(0, 3 * HOUR_S + 1200)
    rig.event("shipment", 3 * HOUR_S + 1000, shipment="s1", batch="b2")
    rig.run()
    for batch in ("b1", "b2"):
        body = rig.live("batch", batch)
        assert [(one["code"], one["place"]) for one in body["reasons"]] == [("conflict", "u1")]
        assert body["incomplete"]
        assert await told(rig, batch) == (True, ["conflict"], True)
    ((statement,),) = rig.rows("select body::jsonb from statement")
    assert statement["incomplete"]
    assert [one["code"] for one in statement["product_footprint"]["reasons"]] == ["conflict"]
    rig.event("withdraw", 3 * HOUR_S + 1100, event_id="j1.start")
    rig.event("withdraw", 3 * HOUR_S + 1101, event_id="j1.end")
    rig.steady(3 * HOUR_S + 1260, 5 * HOUR_S)
    rig.run()
    assert reasons(rig) == set()
    assert await told(rig, "b2") == (False, [], False)
    rig.assert_clean()


async def test_a_batch_lacks_a_job_that_was_kept_out_until_it_is_corrected(rig: Rig) -> None:
    rig.event("order", 0, batch="b1", quantity=10, unit="kg")
    rig.steady(0, 3 * HOUR_S)
    rig.run()
    rig.job("j1", "nowhere", 60, 600, batch="b1")
    rig.run()
    assert reasons(rig) == {("b1", "job-unknown-work-unit", "j1")}
    assert await told(rig, "b1") == (True, ["job-unknown-work-unit"], True)
    rig.assert_clean()
    rig.restart()
    rig.event("job_start", 60, "j1.start", 1, job="j1", batch="b1", work_unit="u1")
    rig.run()
    assert reasons(rig) == set()
    assert await told(rig, "b1") == (False, [], False)
    rig.assert_clean()
