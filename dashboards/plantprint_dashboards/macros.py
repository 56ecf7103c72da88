"""Writes out a query's Grafana variables and macros, so that a test or a person can run it without Grafana.

It knows what the shipped queries use, and refuses everything else:

    ${name:sqlstring}     'a','b' with quotes doubled; `queries.ALL` as it is for a variable whose value is None (all)
    $__timeFilter(column) column between '<start>' and '<end>'
    $__timeFrom() $__timeTo()  '<start>', '<end>', both RFC 3339 in UTC

As in Grafana, variables come first, and a macro's argument cannot hold a closing bracket.
"""

import re
from collections.abc import Mapping, Sequence

from plantprint.times import format_instant
from plantprint_dashboards.queries import ALL

_VARIABLE = re.compile(r"\$\{(\w+):sqlstring\}")
_MACRO = re.compile(r"\$__(\w+)\(([^)]*)\)")


class MacroError(ValueError):
    """A query uses a variable or macro that nothing here can write out."""


def expand(sql: str, start_ms: int, end_ms: int, variables: Mapping[str, Sequence[str] | None]) -> str:
    """The SQL that Grafana would send for the time range [start, end]; raises `MacroError` naming what it met."""
    start, end = (f"'{format_instant(t_ms)}'" for t_ms in (start_ms, end_ms))

    def variable(match: re.Match[str]) -> str:
        if match[1] not in variables:
            raise MacroError(f"the variable {match[0]} has no value")
        values = variables[match[1]]
        return ALL if values is None else ",".join("'" + value.replace("'", "''") + "'" for value in values)

    def macro(match: re.Match[str]) -> str:
        match match[1], match[2].strip():
            case "timeFilter", column if column:
                return f"{column} between {start} and {end}"
            case "timeFrom", "":
                return start
            case "timeTo", "":
                return end
        raise MacroError(f"{match[0]} is not a macro that the shipped queries may use")

    rest = _MACRO.sub("", _VARIABLE.sub("", sql))
    if "$" in rest:
        raise MacroError(f"cannot write out {rest[rest.index('$') :][:40]!r}: use ${{name:sqlstring}} or a known macro")
    return _MACRO.sub(macro, _VARIABLE.sub(variable, sql))
