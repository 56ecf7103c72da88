-- Hourly factors: the files that plant models name, hour by hour, and SQL readers' emissions by them.

-- A version is the state of a series after a file was applied; it holds the hours that the file gave and that differ.
create table factor_series (
    site text not null,
    series text not null,
    version integer not null,
    zone text not null,
    credit text not null,
    known_at timestamptz not null default clock_timestamp(),
    primary key (site, series, version)
);
create trigger factor_series_append_only before update or delete on factor_series
    for each row execute function pp_append_only();

create table factor_hour (
    site text not null,
    series text not null,
    hour_at timestamptz not null,
    version integer not null,
    direct_kg_per_kwh numeric not null check (direct_kg_per_kwh >= 0),
    life_cycle_kg_per_kwh numeric not null check (life_cycle_kg_per_kwh >= 0),
    is_estimated boolean not null,
    primary key (site, series, hour_at, version),
    foreign key (site, series, version) references factor_series (site, series, version)
);
create trigger factor_hour_append_only before update or delete on factor_hour
    for each row execute function pp_append_only();

-- `kg_co2e_per_unit` stays that of the factor, which stands in for hours that the series lacks.
create or replace view report_source as
select m.site, s ->> 'id' as source, s #>> '{name,en}' as name, s ->> 'unit' as unit, s ->> 'kind' as kind,
       (s ->> 'scope')::smallint as scope, s ->> 'factor' as factor_id, f.version as factor_version,
       case when f.body ->> 'unit' = s ->> 'unit' then (f.body ->> 'value')::numeric end as kg_co2e_per_unit,
       s #>> '{hourly,file}' as series, s #>> '{hourly,purpose}' as series_purpose
from newest_plant_model m cross join lateral jsonb_array_elements(m.body -> 'sources') as s
left join (select distinct on (factor_id) factor_id, version, body from factor order by factor_id, version desc) f
    on f.factor_id = s ->> 'factor';

-- Emission = net amount x the factor of the hour in which it entered: of the source's series where that has the hour,
-- else the newest factor; null where there is none. Outside a line (losses, overhead, export, stock) work_center is null.
create or replace view report_emission_hour as
select a.site, a.hour_at, a.account_kind, a.account_id, u.work_center, a.work_unit, a.step, a.source, s.scope, s.unit,
       sum(a.amount) as amount, f.factor_id, f.factor_version, sum(a.amount * f.kg_co2e_per_unit) as kg_co2e, a.portion
from (
    select site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, portion,
           sum(amount) / 1e6 as amount
    from posting
    group by site, hour_at, account_kind, account_id, work_unit, step, source, entered_at, portion
    having sum(amount) <> 0
) a
left join report_source s using (site, source)
left join report_work_unit u using (site, work_unit)
left join lateral (
    select version, case s.series_purpose when 'footprint' then life_cycle_kg_per_kwh else direct_kg_per_kwh end as kg
    from factor_hour
    where s.unit = 'kWh' and site = a.site and series = s.series and hour_at = a.entered_at
    order by version desc limit 1
) h on true
cross join lateral (
    select case when h.version is null then s.factor_id else s.series end as factor_id,
           coalesce(h.version, s.factor_version) as factor_version,
           coalesce(h.kg, s.kg_co2e_per_unit) as kg_co2e_per_unit
) f
group by a.site, a.hour_at, a.account_kind, a.account_id, u.work_center, a.work_unit, a.step, a.source, s.scope, s.unit,
         f.factor_id, f.factor_version, a.portion
having sum(a.amount) <> 0 or sum(a.amount * f.kg_co2e_per_unit) <> 0;
