"""The auditor finds what is wrong: a wrong posting, a doubled one, a missing hour, a changed interval, a lost chunk."""

from collections.abc import Iterator

import pytest
from accounting_cases import HOUR
from ledger_rig import Rig, mill

from plantprint.facts import Channel, Reading

pytestmark = pytest.mark.integration

HOUR_S = 3600
tampered = pytest.mark.contradicts("somebody got past the trigger")


@pytest.fixture
def rig(database_url: str) -> Iterator[Rig]:
    with Rig(database_url) as made:
        made.apply(mill())
        made.declare()
        made.job("j1", "u1", 0, None)
        made.steady(0, 3 * HOUR_S)
        made.run()
        made.assert_clean()
        yield made


def spoil(rig: Rig, *statements: str) -> dict[str, int]:
    """What the auditor says after somebody got past the trigger: findings by check."""
    rig.conn.execute("alter table posting disable trigger posting_append_only")
    for statement in statements:
        assert rig.conn.execute(statement.encode()).rowcount > 0
    found: dict[str, int] = {}
    for finding in rig.audit().findings:
        found[finding.check] = found.get(finding.check, 0) + 1
    return found


@tampered
def test_a_wrong_posting(rig: Rig) -> None:
    assert spoil(
        rig,
        "update posting set amount = amount + 1 where posting_id = (select min(posting_id) from posting where source = 'grid')",
    ) == {
        "ledger = recompute": 1,
        "conservation": 1,
    }


@tampered
def test_an_amount_moved_between_accounts(rig: Rig) -> None:
    """The sum is right, the ledger is not."""

    def moved(by: int, kind: str) -> str:
        first = f"select min(posting_id) from posting where source = 'grid' and account_kind = '{kind}'"
        return f"update posting set amount = amount + {by} where posting_id = ({first})"

    assert spoil(rig, moved(5, "batch"), moved(-5, "idle")) == {"ledger = recompute": 2}


@tampered
def test_a_doubled_posting(rig: Rig) -> None:
    columns = (
        "site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, amount, cause, known_at"
    )
    doubled = f"insert into posting ({columns}) select {columns} from posting where source = 'gas' limit 1"
    assert spoil(rig, doubled) == {"ledger = recompute": 1, "conservation": 1}


@tampered
def test_a_missing_hour(rig: Rig) -> None:
    found = spoil(
        rig,
        "delete from accounted_hour where hour_at = (select hour_at from accounted_hour order by 1 offset 1 limit 1)",
    )
    assert found == {"hours": 1}


@tampered
def test_postings_lost_with_their_hour(rig: Rig) -> None:
    hour = "(select hour_at from accounted_hour order by 1 offset 1 limit 1)"
    found = spoil(rig, f"delete from posting where hour_at = {hour}", f"delete from interval where hour_at = {hour}")
    assert found == {"ledger = recompute": 4}


@tampered
def test_a_changed_interval(rig: Rig) -> None:
    assert spoil(rig, "update interval set amount[1] = amount[1] + 1 where meter = 'incomer'") == {
        "conservation": 4 - 1
    }


@tampered
def test_a_changed_carry(rig: Rig) -> None:
    assert spoil(rig, "update accounted_hour set carry = jsonb_set(carry, '{meters,m1,value}', '7')") == {"carry": 4}


@tampered
def test_a_reading_that_was_changed_behind_our_back(rig: Rig) -> None:
    """No mark, so nobody accounts it again: only the recompute tells."""
    found = spoil(
        rig, f"update reading set value = value + 500 where channel_id = {rig.channel_ids['m1']} and value = 1030000"
    )
    assert set(found) <= {"ledger = recompute", "carry"}
    found = spoil(
        rig, f"update reading set value = value + 5000 where channel_id = {rig.channel_ids['m1']} and value > 1100000"
    )
    assert found["ledger = recompute"] > 0


def test_what_agents_still_hold_is_told_but_is_no_contradiction(rig: Rig) -> None:
    rig.conn.execute("insert into received (site, agent, epoch, chunks) values ('mill', 'gw', 'e1', '{[2,5),[7,9)}')")
    audit = rig.audit()
    assert audit.outstanding == {"gw/e1": [[0, 1], [5, 6]]}
    assert not audit.findings


def test_amounts_that_cannot_be_are_not_expected_in_the_intervals(database_url: str) -> None:
    body = mill()
    body["meters"][3]["rated_per_hour"] = "100"
    with Rig(database_url) as rig:
        rig.apply(body)
        rig.declare(
            *(
                Channel("gw", n, "Nm3" if n == "gas" else "kWh", 3, "amount", 900)
                for n in ("incomer", "m1", "m2", "gas")
            )
        )
        values = {"incomer": 30_000, "m1": 15_000, "m2": 9_000, "gas": 7_500}
        for meter, value in values.items():
            rig.store({meter: [Reading(HOUR + n * 900_000, value) for n in range(1, 10)]})
        rig.store({"gas": [Reading(HOUR + 900_000, 500_000, 3, 1), Reading(HOUR + 1_800_000, -4, 3, 1)]})
        rig.run()
        rig.assert_clean()
        assert rig.amount("idle/u1", "gas", 0) == 15_000_000
