-- report_* views: the contract for SQL readers (Grafana, BI). Names and columns only ever grow.

create view report_posting as
select site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, amount / 1e6 as amount,
       cause, known_at
from posting;

create view report_batch as
select site, batch, product, quantity, unit, status, started_at, ended_at from batch;

create view report_account_hour as
select site, hour_at, account_kind, account_id, work_unit, step, source, sum(amount) / 1e6 as amount
from posting group by site, hour_at, account_kind, account_id, work_unit, step, source having sum(amount) <> 0;

create view report_interval as
select site, meter, hour_at, bucket - 1 as bucket, amount[bucket] / 1e6 as amount, quality[bucket] as quality,
       missing_ms[bucket] as missing_ms
from interval, generate_subscripts(amount, 1) as bucket;

create view report_alert as
select site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour, pending_at, firing_at, resolved_at from alert;

create view report_issue as
select site, code, place, message, remedy, at, first_seen_at, last_seen_at, seen, open from issue;

create view report_live as
select site, kind, id, body, updated_at from live;
