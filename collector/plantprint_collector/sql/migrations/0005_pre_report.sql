-- report_* views: the contract for SQL readers (Grafana, BI). Names and columns only ever grow.

create view report_posting as
select site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, quality, amount / 1e6 as amount,
       cause, known_at, portion
from posting;

create view report_batch as
select b.site, b.batch, b.product, b.quantity, b.unit, b.status, b.started_at, b.ended_at,
       coalesce(s.status, 'provisional') as footprint_status
from batch b left join batch_settlement s using (site, batch);

create view report_account_hour as
select site, hour_at, account_kind, account_id, work_unit, step, source, sum(amount) / 1e6 as amount, portion
from posting group by site, hour_at, account_kind, account_id, work_unit, step, source, portion having sum(amount) <> 0;

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

-- The newest plant model of every site, opened up: names of places, and what turns amounts into emissions.
create view newest_plant_model as
select distinct on (site) site, version, body from plant_model order by site, version desc;

create view report_site as
select s.site, coalesce(m.body #>> '{site,name,en}', s.name ->> 'en', s.site) as name,
       coalesce(m.body #>> '{site,timezone}', 'UTC') as timezone
from site s left join newest_plant_model m using (site);

create view report_work_center as
select m.site, c ->> 'id' as work_center, c #>> '{name,en}' as name,
       (c #>> '{budget,kg_co2e_per_hour}')::numeric as budget_kg_co2e_per_hour
from newest_plant_model m cross join lateral jsonb_array_elements(m.body -> 'work_centers') as c;

create view report_work_unit as
select m.site, c ->> 'id' as work_center, u ->> 'id' as work_unit, u ->> 'step' as step
from newest_plant_model m cross join lateral jsonb_array_elements(m.body -> 'work_centers') as c
cross join lateral jsonb_array_elements(c -> 'work_units') as u;

-- A factor counts only in the source's own unit; another unit gives null, which shows, and never a wrong figure.
create view report_source as
select m.site, s ->> 'id' as source, s #>> '{name,en}' as name, s ->> 'unit' as unit, s ->> 'kind' as kind,
       (s ->> 'scope')::smallint as scope, s ->> 'factor' as factor_id, f.version as factor_version,
       case when f.body ->> 'unit' = s ->> 'unit' then (f.body ->> 'value')::numeric end as kg_co2e_per_unit
from newest_plant_model m cross join lateral jsonb_array_elements(m.body -> 'sources') as s
left join (select distinct on (factor_id) factor_id, version, body from factor order by factor_id, version desc) f
    on f.factor_id = s ->> 'factor';

-- Emission = net amount x the newest factor, per account and hour; null where there is no factor. Outside a line
-- (losses, overhead, export, stock) work_center is null.
create view report_emission_hour as
select a.site, a.hour_at, a.account_kind, a.account_id, u.work_center, a.work_unit, a.step, a.source, s.scope, s.unit,
       a.amount, s.factor_id, s.factor_version, a.amount * s.kg_co2e_per_unit as kg_co2e, a.portion
from report_account_hour a
left join report_source s using (site, source)
left join report_work_unit u using (site, work_unit);
