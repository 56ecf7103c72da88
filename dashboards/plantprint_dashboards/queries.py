"""Every SQL query that a dashboard sends, by name, with the columns it promises; they read `report_*` views only.

Variables are `${site}` (one id) and `${line}` (ids, or '*' for all); both are always written `${name:sqlstring}`.
A figure that cannot be known is null and never zero: one missing factor or budget makes its sum null.
"""

from dataclasses import dataclass
from typing import Literal

ALL = "'*'"
"""What `${line:sqlstring}` becomes when all lines are chosen; Grafana puts a custom "all" value in unquoted."""

_SITE = "site = ${site:sqlstring}"


def _lines(column: str) -> str:
    return f"('*' in (${{line:sqlstring}}) or {column} in (${{line:sqlstring}}))"


@dataclass(frozen=True, slots=True)
class Query:
    """`columns` in order; a `time_series` has a `time`, a text `metric` that names the series, and one number."""

    name: str
    columns: tuple[str, ...]
    sql: str
    shape: Literal["table", "time_series"] = "table"


SITES = Query("sites", ("__text", "__value"), "select name as __text, site as __value from report_site order by 1")

LINES = Query(
    "lines",
    ("__text", "__value"),
    f"""select name as __text, work_center as __value from report_work_center
where {_SITE} order by work_center""",
)

RATE_NOW = Query(
    "rate_now",
    ("rate",),
    f"""select (body ->> 'rate_kg_co2e_per_hour')::float8 as rate from report_live
where {_SITE} and kind = 'plant'""",
)

TODAY = Query(
    "today",
    ("today",),
    f"select (body ->> 'today_kg_co2e')::float8 as today from report_live where {_SITE} and kind = 'plant'",
)

# The allowance so far is the hourly budget of all lines times the hours since the site's midnight.
TODAY_OF_BUDGET = Query(
    "today_of_budget",
    ("used",),
    f"""with budget as (
    select case when bool_and(budget_kg_co2e_per_hour is not null) then sum(budget_kg_co2e_per_hour) end as per_hour
    from report_work_center where {_SITE}
), today as (
    select (body ->> 'today_kg_co2e')::numeric as kg_co2e,
           (body ->> 'at')::timestamptz - date_trunc('day', (body ->> 'at')::timestamptz, timezone) as elapsed
    from report_live join report_site using (site) where {_SITE} and kind = 'plant'
)
select (kg_co2e / nullif(per_hour * extract(epoch from elapsed) / 3600, 0))::float8 as used from today, budget""",
)

GRID_INTENSITY = Query(
    "grid_intensity",
    ("source", "intensity"),
    f"""select name as source, (kg_co2e_per_unit * 1000)::float8 as intensity from report_source
where {_SITE} and kind = 'grid' and unit = 'kWh' order by source""",
)

NOT_MEASURED = Query(
    "not_measured",
    ("share",),
    f"""select 1 - sum(q.value::float8) filter (where q.key = 'measured') / nullif(sum(q.value::float8), 0) as share
from report_live cross join lateral jsonb_each_text(body -> 'quality') as q where {_SITE} and kind = 'plant'""",
)

# The age that the accountant last saw, plus the time since it last wrote: it grows when either side stops.
DATA_AGE = Query(
    "data_age",
    ("age_s",),
    f"""select (body ->> 'data_age_s')::float8 + greatest(extract(epoch from now() - updated_at), 0)::float8 as age_s
from report_live where {_SITE} and kind = 'plant'""",
)

LINE_OF_BUDGET = Query(
    "line_of_budget",
    ("line", "used"),
    f"""select w.name as line,
       (l.body ->> 'rate_kg_co2e_per_hour')::float8 / nullif((l.body #>> '{{budget,limit}}')::float8, 0) as used
from report_live l join report_work_center w on w.site = l.site and w.work_center = l.id
where l.{_SITE} and l.kind = 'work_center' and l.body #>> '{{budget,limit}}' is not null and {_lines("l.id")}
order by w.work_center""",
)

EMISSION_BY_LINE = Query(
    "emission_by_line",
    ("time", "metric", "rate"),
    f"""select e.hour_at as time, coalesce(w.name, 'not on a line') as metric,
       (case when bool_and(e.kg_co2e is not null) then sum(e.kg_co2e) end)::float8 as rate
from report_emission_hour e left join report_work_center w using (site, work_center)
where {_SITE} and $__timeFilter(e.hour_at) and e.account_kind not in ('export', 'stock') and {_lines("work_center")}
group by 1, 2 order by 1, 2""",
    "time_series",
)

BUDGET_OF_LINES = Query(
    "budget_of_lines",
    ("time", "metric", "budget"),
    f"""select hour_at as time, 'budget' as metric,
       (case when bool_and(budget_kg_co2e_per_hour is not null) then sum(budget_kg_co2e_per_hour) end)::float8 as budget
from report_work_center cross join
     generate_series(date_trunc('hour', $__timeFrom()::timestamptz), $__timeTo()::timestamptz, '1 hour') as hour_at
where {_SITE} and {_lines("work_center")}
group by 1 order by 1""",
    "time_series",
)

RATE_BY_STEP = Query(
    "rate_by_step",
    ("line", "step", "rate"),
    f"""select w.name as line, s.key as step, s.value::float8 as rate
from report_live l join report_work_center w on w.site = l.site and w.work_center = l.id
cross join lateral jsonb_each_text(l.body -> 'by_step') as s
where l.{_SITE} and l.kind = 'work_center' and {_lines("l.id")}
order by w.work_center, s.key""",
)

RUNNING_BATCHES = Query(
    "running_batches",
    ("batch", "product", "status", "started_at", "quantity", "unit", "partial_footprint", "per_unit"),
    f"""select batch, product, coalesce(body ->> 'status', b.status) as status, started_at, quantity::float8, unit,
       (body ->> 'partial_footprint_kg_co2e')::float8 as partial_footprint,
       ((body ->> 'partial_footprint_kg_co2e')::numeric / nullif(quantity, 0))::float8 as per_unit
from report_batch b left join report_live l on l.site = b.site and l.kind = 'batch' and l.id = b.batch
where b.{_SITE} and b.status = 'running' order by started_at, batch""",
)

FACTORS = Query(
    "factors",
    ("source", "scope", "unit", "factor_value", "factor", "version"),
    f"""select name as source, scope, unit, kg_co2e_per_unit::float8 as factor_value, factor_id as factor,
       factor_version as version
from report_source where {_SITE} order by scope, source""",
)

BATCHES_MARK = Query(
    "batches_mark",
    ("time", "timeend", "text", "tags"),
    f"""select started_at as time, coalesce(ended_at, $__timeTo()::timestamptz) as timeend,
       concat_ws(' ', batch, product, case when ended_at is null then '(running)' end) as text, 'batch' as tags
from report_batch where {_SITE} and started_at <= $__timeTo() and coalesce(ended_at, 'infinity') >= $__timeFrom()
order by 1""",
)

BREACHES_MARK = Query(
    "breaches_mark",
    ("time", "timeend", "text", "tags"),
    f"""select firing_at as time, coalesce(resolved_at, $__timeTo()::timestamptz) as timeend,
       format('%s: %s of %s kgCO2e/h', work_center, rate_kg_co2e_per_hour, limit_kg_co2e_per_hour) as text,
       'budget' as tags
from report_alert where {_SITE} and firing_at <= $__timeTo() and coalesce(resolved_at, 'infinity') >= $__timeFrom()
      and {_lines("work_center")}
order by 1""",
)


def queries() -> tuple[Query, ...]:
    """All of them; a test executes each one on a real database, as the role that Grafana uses."""
    return tuple(value for value in globals().values() if isinstance(value, Query))
