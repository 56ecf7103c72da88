"""The expander writes out what Grafana would, and refuses what it does not know."""

import pytest

from plantprint_dashboards.macros import MacroError, expand

START_MS, END_MS = 1_764_000_000_000, 1_764_003_600_500


def test_time_macros_become_rfc_3339_text() -> None:
    sql = "select $__timeFrom(), $__timeTo() where $__timeFilter(e.hour_at)"
    start, end = "'2025-11-24T16:00:00Z'", "'2025-11-24T17:00:00.500Z'"
    assert expand(sql, START_MS, END_MS, {}) == f"select {start}, {end} where e.hour_at between {start} and {end}"


def test_variables_are_quoted_and_all_is_a_star() -> None:
    sql = "${site:sqlstring} ('*' in (${line:sqlstring}) or id in (${line:sqlstring}))"
    chosen = expand(sql, START_MS, END_MS, {"site": ["o'hara"], "line": ["line-1", "line-2"]})
    assert chosen == "'o''hara' ('*' in ('line-1','line-2') or id in ('line-1','line-2'))"
    assert expand(sql, START_MS, END_MS, {"site": ["a"], "line": None}) == "'a' ('*' in ('*') or id in ('*'))"


def test_text_that_a_variable_brings_in_is_left_alone() -> None:
    assert expand("${site:sqlstring}", START_MS, END_MS, {"site": ["costs $5"]}) == "'costs $5'"


@pytest.mark.parametrize(
    "sql",
    [
        "$site",
        "${site}",
        "${site:csv}",
        "$__interval",
        "$__timeGroup(t, '1h')",
        "$__timeFilter()",
        "${batch:sqlstring}",
    ],
)
def test_anything_else_is_refused(sql: str) -> None:
    with pytest.raises(MacroError):
        expand(sql, START_MS, END_MS, {"site": ["a"]})
