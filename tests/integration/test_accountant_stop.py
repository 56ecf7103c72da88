"""An accountant that is asked to stop ends, even inside a pass that waits for the database; the pass is done again."""

import psycopg
import pytest
from fake_agent import wait_until
from ledger_rig import Rig, mill

from plantprint_collector.accountant import Accountant
from plantprint_collector.accountant_config import AccountantSettings

pytestmark = pytest.mark.integration

QUICK = AccountantSettings(live_ms=50, accountant_retry_s=0.1)
H = 3600


def test_a_pass_that_waits_is_cut_off_and_done_again(database_url: str) -> None:
    with Rig(database_url) as rig, psycopg.connect(database_url) as blocking:
        rig.apply(mill())
        rig.declare()
        rig.steady(0, 4 * H, 600)
        blocking.execute("lock table posting in access exclusive mode")
        stopped = Accountant(rig.dsn, QUICK, lambda *_: True)
        stopped.start()
        waiting = "select count(*) from pg_locks where not granted and relation = 'posting'::regclass"
        wait_until(lambda: rig.rows(waiting) == [(1,)], "a pass waits")
        assert stopped.stop(0.1)
        assert not stopped.alive
        assert stopped.failures == 0
        blocking.rollback()
        rig.run()
        rig.assert_clean()
        assert rig.rows("select count(*) > 0 from posting") == [(True,)]
