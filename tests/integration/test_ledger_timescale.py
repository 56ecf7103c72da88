"""The ledger on TimescaleDB: hours settle, a day is compressed, a late reading in it reverses postings, the audit is clean."""

import pytest
from ledger_rig import Rig, mill, steady

from plantprint.facts import Reading

pytestmark = [pytest.mark.integration, pytest.mark.timescale]

H = 3600


def test_a_late_reading_in_a_compressed_day_corrects_the_ledger(timescale_url: str) -> None:
    with Rig(timescale_url) as rig:
        rig.apply(mill())
        rig.declare()
        rig.job("j", "u1", 600, 5400)
        rig.steady(-60, 3 * H)
        rig.run()
        assert rig.amount("batch/b-j", "grid", 0) > 0
        settled = rig.net(last=1)

        rig.rows("select pp_compress_before('reading', now())")
        ((hypertables,),) = rig.rows(
            "select count(*) from timescaledb_information.hypertables where hypertable_name = 'reading'"
        )
        ((compressed,),) = rig.rows(
            "select count(*) from timescaledb_information.chunks where hypertable_name = 'reading' and is_compressed"
        )
        assert hypertables == 1
        assert compressed >= 1

        before = rig.amount("batch/b-j", "grid", 0)
        rig.store({"m1": [Reading(r.t_ms, r.value + 3_000, revision=1) for r in steady("m1", 1200, 3 * H)]})
        rig.run()
        assert rig.amount("batch/b-j", "grid", 0) > before
        assert rig.net(last=1) != settled
        ((reversals,),) = rig.rows("select count(*) from posting where cause like 'reversal: %%'")
        assert reversals > 0
        audit = rig.audit()
        assert audit.findings == []
        assert audit.hours >= 2
