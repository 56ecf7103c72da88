-- The api's statements, by name. Parameters are %(name)s; every list is bounded by its own limit.

-- name: ping
select max(number) as schema_version from schema_migration;

-- name: sites
select site, name, clock, exists (select from plant_model m where m.site = s.site) as has_plant_model
from site s where site > %(after)s order by site limit %(limit)s;

-- name: site
select site, name, clock, exists (select from plant_model m where m.site = s.site) as has_plant_model
from site s where site = %(site)s;

-- name: sites_to_choose
with known as (
    select site, name, clock, exists (select from plant_model m where m.site = s.site) as has_plant_model from site s
)
select * from known where has_plant_model or not exists (select from known where has_plant_model)
order by site limit %(limit)s;

-- name: model
select version, effective_at, body from plant_model
where site = %(site)s and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s or version = 1)
order by (effective_at is null or effective_at <= %(at)s) desc, coalesce(effective_at, '-infinity') desc, version desc
limit 1;

-- name: model_sources
select effective_at, body -> 'sources' as sources from plant_model
where site = %(site)s and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s or version = 1)
order by effective_at nulls first, version;

-- name: live_of_site
select kind, id, body from live where site = %(site)s and kind = any(%(kinds)s);

-- name: live_one
select site, body from live
where kind = %(kind)s and id = %(id)s and (%(site)s::text is null or site = %(site)s) order by site limit 2;

-- name: live_changes
select l.site, l.kind, l.id, l.updated_at,
       case when known.updated_at is distinct from l.updated_at then l.body::text end as body
from live l left join unnest(%(sites)s::text[], %(kinds)s::text[], %(ids)s::text[], %(stamps)s::timestamptz[])
     as known (site, kind, id, updated_at) using (site, kind, id);

-- name: alert_changes
select alert_id::text as id, site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour,
       pending_at, firing_at, resolved_at
from alert where state <> 'resolved' or alert_id = any(%(known)s::uuid[]);

-- name: batches
select b.* from pp_batch b
where (%(site)s::text is null or b.site = %(site)s)
  and (%(statuses)s::text[] is null or b.status = any(%(statuses)s))
  and not b.batch = any(%(without)s)
  and (%(named)s::text is null or strpos(lower(b.batch), lower(%(named)s)) > 0
       or strpos(lower(b.product), lower(%(named)s)) > 0)
  and (%(cursor_batch)s::text is null
       or (coalesce(b.started_at, '-infinity'), b.site, b.batch)
          < (%(cursor_at)s::timestamptz, %(cursor_site)s, %(cursor_batch)s))
order by coalesce(b.started_at, '-infinity') desc, b.site desc, b.batch desc limit %(limit)s;

-- name: waiting_batches
select b.batch from batch b
where b.site = %(site)s and b.status = 'waiting'
  and exists (select from live l where l.site = b.site and l.kind = 'batch' and l.id = b.batch);

-- name: batch
select b.* from pp_batch b
where b.batch = %(batch)s and (%(site)s::text is null or b.site = %(site)s) order by b.site limit 2;

-- name: batch_net
select account_id as batch, hour_at, work_unit, step, source, entered_at, quality, portion,
       sum(amount)::bigint as amount
from posting
where site = %(site)s and account_kind = 'batch' and account_id = any(%(batches)s)
group by account_id, hour_at, work_unit, step, source, entered_at, quality, portion having sum(amount) <> 0;

-- name: factors
select distinct on (factor_id) factor_id, version, body from factor
where factor_id = any(%(ids)s) order by factor_id, version desc;

-- name: factor_versions
select factor_id, version, body from factor
where (factor_id = any(%(ids)s) or body ->> 'subject' = any(%(ids)s))
  and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
order by factor_id, version;

-- name: factor_series
select s.series, s.version, s.zone, s.credit, h.hour_at, h.direct_kg_per_kwh, h.life_cycle_kg_per_kwh, h.is_estimated
from (
    select distinct on (series) series, version, zone, credit from factor_series
    where site = %(site)s and series = any(%(series)s)
      and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
    order by series, version desc
) s left join lateral (
    select distinct on (hour_at) * from factor_hour
    where site = %(site)s and series = s.series and hour_at = any(%(hours)s::timestamptz[]) and version <= s.version
    order by hour_at, version desc
) h on true;

-- name: lot_net
select account_id as batch, hour_at, work_unit, step, source, entered_at, quality, portion,
       sum(amount)::bigint as amount
from posting
where site = %(site)s and account_kind = 'batch' and account_id = any(%(lots)s)
  and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
group by account_id, hour_at, work_unit, step, source, entered_at, quality, portion having sum(amount) <> 0;

-- name: lot_events
select source, event_id, revision, kind, at, body from pp_lot_events(%(site)s, %(lots)s::text[])
where %(known_at)s::timestamptz is null or recorded_at <= %(known_at)s;

-- name: certificates
select source, event_id, revision, kind, at, body from pp_certificates(%(site)s, %(from_at)s, %(to_at)s)
where %(known_at)s::timestamptz is null or recorded_at <= %(known_at)s;

-- name: site_import
select hour_at, sum(amount)::bigint as amount from posting
where site = %(site)s and source = %(source)s and hour_at = any(%(hours)s::timestamptz[]) and entered_at = hour_at
  and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
group by hour_at;

-- name: lot_batches
select b.batch, b.product, b.quantity, b.unit, b.started_at, l.body as live,
       (select coalesce(sum(missing_ms), 0)::bigint from batch_missing m where m.site = b.site and m.batch = b.batch)
           as missing_ms
from batch b left join live l on l.site = b.site and l.kind = 'batch' and l.id = b.batch
where b.site = %(site)s and b.batch = any(%(lots)s);

-- name: lot_contradictions
select batch, code, place, at, message, remedy from batch_reason
where site = %(site)s and batch = any(%(lots)s) and origin <> 'genealogy' order by batch, code, place, at;

-- name: statements_of_batch
select shipment, body_hash, issued_at from statement
where site = %(site)s and batch = %(batch)s order by issued_at desc limit 100;

-- name: shipments
with shipped as (
    select e.site, e.at, e.body ->> 'shipment' as shipment, e.body ->> 'batch' as batch,
           e.body ->> 'quantity' as quantity, e.body ->> 'customer' as customer
    from production_event e
    where e.kind = 'shipment' and (%(site)s::text is null or e.site = %(site)s)
      and e.body ->> 'shipment' <> '' and e.body ->> 'batch' <> ''
      and not exists (select from production_event n where n.site = e.site and n.source = e.source
                      and n.event_id = e.event_id and n.revision > e.revision)
      and not exists (select from production_event w where w.site = e.site and w.source = e.source
                      and w.kind = 'withdraw' and btrim(w.body ->> 'event_id') = e.event_id)
)
select site, at, shipment, batch, quantity, customer, body_hash, issued_at
from shipped left join statement using (site, shipment, batch)
where %(cursor_at)s::timestamptz is null
      or (at, site, shipment, batch)
         < (%(cursor_at)s::timestamptz, %(cursor_site)s, %(cursor_shipment)s, %(cursor_batch)s)
order by at desc, site desc, shipment desc, batch desc limit %(limit)s;

-- name: shipment
with shipped as (
    select e.site, e.at, e.source, e.event_id, e.body ->> 'shipment' as shipment, e.body ->> 'batch' as batch,
           e.body ->> 'quantity' as quantity, e.body ->> 'customer' as customer
    from production_event e
    where e.kind = 'shipment' and e.body ->> 'shipment' = %(shipment)s and e.body ->> 'batch' <> ''
      and (%(site)s::text is null or e.site = %(site)s)
      and not exists (select from production_event n where n.site = e.site and n.source = e.source
                      and n.event_id = e.event_id and n.revision > e.revision)
      and not exists (select from production_event w where w.site = e.site and w.source = e.source
                      and w.kind = 'withdraw' and btrim(w.body ->> 'event_id') = e.event_id)
)
select site, at, source, event_id, shipment, batch, quantity, customer, body as statement, body_hash, issued_at
from shipped left join statement using (site, shipment, batch)
order by site, at, batch, source, event_id limit 200;

-- name: statement
select body, body_hash from statement
where shipment = %(shipment)s and batch = %(batch)s and (%(site)s::text is null or site = %(site)s)
order by site limit 2;

-- name: insert_event
insert into production_event (site, source, event_id, revision, kind, at, body)
values (%(site)s, %(source)s, %(event_id)s, %(revision)s, %(kind)s, %(at)s, %(body)s)
on conflict do nothing returning true as stored;

-- name: known_event
select kind, at, body from production_event
where site = %(site)s and source = %(source)s and event_id = %(event_id)s and revision = %(revision)s;

-- name: alerts
select alert_id::text as id, site, work_center, state, limit_kg_co2e_per_hour, rate_kg_co2e_per_hour,
       pending_at, firing_at, resolved_at
from alert
where (%(site)s::text is null or site = %(site)s)
  and (%(states)s::text[] is null or state = any(%(states)s))
  and (%(cursor_at)s::timestamptz is null
       or (pending_at, alert_id) < (%(cursor_at)s::timestamptz, %(cursor_id)s::uuid))
order by pending_at desc, alert_id desc limit %(limit)s;

-- name: issues
select site, code, place, message, remedy, at, first_seen_at, last_seen_at, seen, open from issue
where (%(site)s::text is null or site = %(site)s) and (%(open)s::boolean is null or open = %(open)s)
  and (%(cursor_at)s::timestamptz is null
       or (at, site, code, place) < (%(cursor_at)s::timestamptz, %(cursor_site)s, %(cursor_code)s, %(cursor_place)s))
order by at desc, site desc, code desc, place desc limit %(limit)s;

-- name: issue_groups
with asked as (
    select *, case when %(by_place)s then place else '' end as group_place from issue
    where (%(site)s::text is null or site = %(site)s) and (%(open)s::boolean is null or open = %(open)s)
      and (%(code)s::text is null or code = %(code)s)
), grouped as (
    select site, code, group_place, count(*) as issues, count(*) filter (where open) as open_issues,
           count(distinct place) as places, min(at) as first_at, max(at) as last_at
    from asked group by site, code, group_place
), shown as (
    select * from grouped
    where %(cursor_at)s::timestamptz is null
          or (last_at, site, code, group_place)
             < (%(cursor_at)s::timestamptz, %(cursor_site)s, %(cursor_code)s, %(cursor_place)s)
    order by last_at desc, site desc, code desc, group_place desc limit %(limit)s
)
select g.*, newest.message, newest.remedy, named.newest_places,
       exists (select from batch b where b.site = g.site and b.batch = named.newest_places[1]) as of_batches
from shown g
cross join lateral (
    select message, remedy from issue a where a.site = g.site and a.code = g.code
      and (not %(by_place)s or a.place = g.group_place) and (%(open)s::boolean is null or a.open = %(open)s)
    order by at desc, place limit 1) newest
cross join lateral (
    select array_agg(place order by at desc, place) as newest_places from (
        select place, max(at) as at from (
            select place, at from issue a where a.site = g.site and a.code = g.code
              and (not %(by_place)s or a.place = g.group_place) and (%(open)s::boolean is null or a.open = %(open)s)
            order by at desc limit 1000) n
        group by place order by max(at) desc, place limit %(places)s) p) named
order by g.last_at desc, g.site desc, g.code desc, g.group_place desc;

-- name: refused
select (select count(*) from dead_letter) as dead_letters,
       (select coalesce(sum(seen), 0)::bigint from dead_letter) as dead_letters_seen,
       (select count(*) from rejected_reading where site = %(site)s) as rejected_readings,
       (select coalesce(sum(seen), 0)::bigint from reading_conflict join channel using (channel_id)
        where site = %(site)s) as conflicting_readings,
       (select count(*) from gap where site = %(site)s) as gaps,
       (select coalesce(sum(lost_rows), 0)::bigint from gap where site = %(site)s) as lost_readings;

-- name: series
select site, to_timestamp(floor(extract(epoch from hour_at) / %(step_s)s) * %(step_s)s) as at,
       work_unit, step, source, case when source = any(%(hourly)s) then entered_at end as entered_at,
       sum(amount)::bigint as amount
from posting
where site = %(site)s and hour_at >= %(from_at)s and hour_at < %(to_at)s and account_kind not in ('export', 'stock')
group by 1, 2, 3, 4, 5, 6 having sum(amount) <> 0
order by 2, 3, 4, 5, 6 limit %(limit)s;

-- name: postings_behind
select hour_at, work_unit, step, source, entered_at, quality, portion, amount, cause, known_at from posting
where site = %(site)s and account_kind = 'batch' and account_id = %(batch)s
  and (%(step)s::text is null or step = %(step)s) and (%(source)s::text is null or source = %(source)s)
  and hour_at = any(%(hours)s::timestamptz[])
  and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
order by hour_at, posting_id limit %(limit)s;

-- name: intervals_behind
select meter, hour_at, (select coalesce(sum(part), 0)::bigint from unnest(amount) part) as amount,
       (select coalesce(min(part), 0) from unnest(quality) part) as quality,
       (select coalesce(sum(part), 0)::bigint from unnest(missing_ms) part) as missing_ms
from interval
where site = %(site)s and meter = any(%(meters)s) and hour_at = any(%(hours)s::timestamptz[]) order by meter, hour_at;

-- name: readings_behind
select c.channel, c.unit, c.decimals, r.measured_at, r.value, r.quality
from (select channel_id, agent || '/' || name as channel, unit, decimals from channel
      where site = %(site)s and agent || '/' || name = any(%(channels)s)) c
cross join lateral (
    select measured_at, value, quality from reading
    where reading.channel_id = c.channel_id and measured_at between %(from_at)s and %(to_at)s
    order by measured_at limit %(limit)s) r
order by c.channel, r.measured_at;

-- name: readings_from
select pp_readings_from() as at;

-- name: batch_before
select o.batch from batch b
join batch o on o.site = b.site and o.product = b.product and o.unit = b.unit and o.started_at < b.started_at
            and o.status in ('finished', 'shipped')
where b.site = %(site)s and b.batch = %(batch)s and b.product <> '' order by o.started_at desc limit 1;

-- name: meter_hours
select hour_at, meter, (select coalesce(sum(part), 0) / 1e6 from unnest(amount) part)::float8 as amount
from interval where site = %(site)s and meter = any(%(meters)s) and hour_at = any(%(hours)s::timestamptz[]);
