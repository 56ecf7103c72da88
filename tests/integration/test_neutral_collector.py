"""The collector's ledger and `plantprint account` on the same facts: posting for posting, now and as known before."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from accounting_cases import HOUR, HOUR_MS
from ledger_rig import CHANNELS, METERS, Rig, mill, steady, withdrawn

from plantprint import neutral
from plantprint.facts import EventKind, Quality, Reading
from plantprint.ledger import Net, PostingKey
from plantprint.quantities import decimal_text
from plantprint.times import format_instant, to_ms

pytestmark = pytest.mark.integration

HOUR_S = 3600
LATE = {"known_at": "2100-01-01T00:00:00Z"}
MODEL = mill(materials=[{"id": "salt", "name": {"en": "Salt"}, "unit": "kg", "factor": "cpcd.sodium_sulfate"}])


class Told:
    """Whatever is stored is written down as a document of facts as well."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.body: dict[str, Any] = {
            "plantprint_facts": 1,
            "plants": [{"model": MODEL}],
            "channels": [
                {"channel": c.key, "unit": c.unit, "decimals": c.decimals, "kind": c.kind} for c in CHANNELS.values()
            ],
            "readings": [],
            "events": [],
        }
        self.known: dict[str, str] = {}
        self._newest_ms = 0

    def read(self, meter: str, readings: Sequence[Reading]) -> None:
        self.rig.store({meter: readings})
        self._newest_ms = max(self._newest_ms, *(r.t_ms for r in readings))
        for r in readings:
            rows = [[format_instant(r.t_ms), decimal_text(r.value, 1000)]]
            block = {"channel": CHANNELS[meter].key, "quality": Quality(r.quality).name.lower(), "revision": r.revision}
            self.body["readings"].append({**block, "rows": rows, **self.known})

    def event(self, kind: EventKind, at_s: float, name: str, revision: int = 0, **fields: Any) -> None:
        self.rig.event(kind, at_s, name, revision, **fields)
        identity = {"source": "mes", "event_id": name, "revision": revision, "kind": kind}
        at = format_instant(HOUR + round(at_s * 1000))
        self.body["events"].append({**identity, "at": at, "body": fields, **self.known})

    def job(self, name: str, unit: str, start_s: float, end_s: float) -> None:
        self.event("job_start", start_s, f"{name}.start", job=name, batch=f"b-{name}", work_unit=unit)
        self.event("job_end", end_s, f"{name}.end", job=name)

    def accounts(self, known_at: str | None = None) -> neutral.Accounts:
        document = {**self.body, "until": format_instant(self._newest_ms)}
        return neutral.account_facts(neutral.parse_facts(json.dumps(document)), known_at)


@pytest.fixture
def told(database_url: str) -> Iterator[Told]:
    with Rig(database_url) as rig:
        rig.apply(MODEL)
        rig.declare()
        yield Told(rig)


def settled(accounts: neutral.Accounts, hours: int) -> Net:
    return {key: amount for key, amount in accounts.net.items() if key.hour_ms < HOUR + hours * HOUR_MS}


def ledger_at(rig: Rig, known_at: Any) -> Net:
    """The ledger as it stood at an instant, from its append-only postings."""
    sums: dict[PostingKey, int] = {}
    for hour, kind, account, unit, step, source, entered, quality, portion, amount in rig.rows(
        "select hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, portion, amount "
        "from posting where site = %s and known_at <= %s",
        rig.site,
        known_at,
    ):
        key = PostingKey(to_ms(hour), kind, account, unit, step, source, to_ms(entered), quality, portion)
        sums[key] = sums.get(key, 0) + amount
    return {key: amount for key, amount in sums.items() if amount}


def test_the_same_facts_give_the_same_postings_now_and_as_known_before(told: Told) -> None:
    hours = 4
    hole = {2 * HOUR_S + 600 * n for n in range(1, 4)}
    for meter in METERS:
        readings = steady(meter, 0, hours * HOUR_S, 300)
        absent = {HOUR + s * 1000 for s in hole} if meter == "m1" else set()
        told.read(meter, [r for r in readings if r.t_ms not in absent])
    told.event("order", 0, "o1", batch="b-j1", product="twill", quantity=100, unit="kg")
    told.job("j1", "u1", 600, 2 * HOUR_S + 1234.567)
    told.job("j2", "u1", HOUR_S, 3 * HOUR_S + 5)
    told.job("j3", "u2", 100, 200)
    told.event("state", 2 * HOUR_S, "s1", work_unit="u1", state="fault")
    told.event("material_use", HOUR_S, "m1", batch="b-j1", material="salt", quantity=20)
    told.rig.run()
    ((before,),) = told.rig.rows("select clock_timestamp()")
    first = told.rig.net()
    assert first == settled(told.accounts(), hours)

    told.known = LATE
    wrong = Reading(HOUR + HOUR_S * 1000 + 300_000, 1_000_000 + 36_000 + 30_000)
    told.read("m2", [wrong])
    told.read("m1", [r for r in steady("m1", 0, hours * HOUR_S, 300) if r.t_ms in {HOUR + s * 1000 for s in hole}])
    told.read("gas", [withdrawn(steady("gas", 2 * HOUR_S, 2 * HOUR_S)[0])])
    told.event("job_end", 3 * HOUR_S, "j1.end", 1, job="j1")
    told.event("withdraw", 0, "w1", event_id="j3.start")
    told.event("withdraw", 0, "w2", event_id="j3.end")
    told.rig.run()
    told.read("m2", [withdrawn(wrong)])
    told.rig.run()

    assert told.rig.net() == settled(told.accounts(), hours)
    assert told.rig.net() != first
    then = settled(told.accounts("2026-06-01T00:00:00Z"), hours)
    assert ledger_at(told.rig, before) == first == then
    told.rig.assert_clean()


def test_a_statement_says_what_the_neutral_way_says(told: Told) -> None:
    for meter in METERS:
        told.read(meter, steady(meter, 0, 2 * HOUR_S, 300))
    told.event("order", 0, "o1", batch="b-j1", product="twill", quantity=100, unit="kg")
    told.job("j1", "u1", 600, HOUR_S + 900)
    told.event("lot", 0, "l1", lot="yarn", quantity=50, unit="kg", pcf_kg_co2e="2.5", primary_share="0.4")
    told.event("material_use", 700, "m1", batch="b-j1", lot="yarn", quantity=40)
    told.event("material_use", 800, "m2", batch="b-j1", material="salt", quantity=20)
    told.event("output", HOUR_S + 900, "p1", batch="b-j1", quantity=90)
    told.event("shipment", HOUR_S + 900, "s1", shipment="s", batch="b-j1", quantity=90)
    told.rig.run()
    ((statement,),) = told.rig.rows("select body from statement where site = %s", told.rig.site)
    batch = neutral.accounts_json(told.accounts())["batches"]["b-j1"]
    body = json.loads(statement) if isinstance(statement, str) else statement
    assert body["product_footprint"] == batch["product_footprint"]
    assert body["partial_footprint_kg_co2e"] == batch["kg_co2e"]
    assert body["breakdown"]["by_step"] == batch["by_step"]
