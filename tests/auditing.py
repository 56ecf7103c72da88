"""What a test leaves in its database is audited: nothing lost, doubled or made up."""

import psycopg
import pytest

from plantprint_collector.audit import audit_database

MARKER = "contradicts(why): leaves on purpose what the auditor must find; fails where it finds nothing"
_SCHEMA = "select to_regclass('accounted_hour') is not null and to_regclass('dirty') is not null"
_ANYTHING = "select exists (select from accounted_hour) or exists (select from received)"


def audit_what_is_left(request: pytest.FixtureRequest, dsn: str) -> None:
    """At the end of a test; one marked `contradicts` must leave a finding."""
    contradicts = request.node.get_closest_marker("contradicts")
    found = findings(dsn)
    if contradicts is None:
        assert not found, found
    else:
        assert found, f"nothing contradicts any more: {contradicts.args}"


def findings(dsn: str) -> list[str]:
    """What contradicts, in the auditor's words; nothing where there is neither ledger nor intake, at the cost of two looks."""
    with psycopg.connect(dsn) as conn:
        for look in (_SCHEMA, _ANYTHING):
            if conn.execute(look).fetchone() == (False,):
                return []
    report = audit_database(dsn)
    return [] if report.clean else list(report.lines())
