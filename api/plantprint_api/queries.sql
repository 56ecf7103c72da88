-- The api's statements, by name. Parameters are %(name)s; every list is bounded by its own limit.

-- name: ping
select max(number) as schema_version from schema_migration;

-- name: sites
select site, name, clock from site where site > %(after)s order by site limit %(limit)s;

-- name: site
select site, name, clock from site where site = %(site)s;

-- name: model
select version, effective_at, body from plant_model
where site = %(site)s
order by (effective_at is null or effective_at <= %(at)s) desc, coalesce(effective_at, '-infinity') desc, version desc
limit 1;

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
select b.site, b.batch, b.product, b.quantity, b.unit, b.status, b.started_at, b.ended_at, l.body as live,
       exists (select from batch_reason r where r.site = b.site and r.batch = b.batch) as has_reasons
from batch b left join live l on l.site = b.site and l.kind = 'batch' and l.id = b.batch
where (%(site)s::text is null or b.site = %(site)s)
  and (%(statuses)s::text[] is null or b.status = any(%(statuses)s))
  and (%(cursor_batch)s::text is null
       or (coalesce(b.started_at, '-infinity'), b.site, b.batch)
          < (%(cursor_at)s::timestamptz, %(cursor_site)s, %(cursor_batch)s))
order by coalesce(b.started_at, '-infinity') desc, b.site desc, b.batch desc limit %(limit)s;

-- name: batch
select b.site, b.batch, b.product, b.quantity, b.unit, b.status, b.started_at, b.ended_at, l.body as live,
       exists (select from batch_reason r where r.site = b.site and r.batch = b.batch) as has_reasons
from batch b left join live l on l.site = b.site and l.kind = 'batch' and l.id = b.batch
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

-- name: lot_net
select account_id as batch, hour_at, work_unit, step, source, entered_at, quality, portion,
       sum(amount)::bigint as amount
from posting
where site = %(site)s and account_kind = 'batch' and account_id = any(%(lots)s)
  and (%(known_at)s::timestamptz is null or known_at <= %(known_at)s)
group by account_id, hour_at, work_unit, step, source, entered_at, quality, portion having sum(amount) <> 0;

-- name: lot_events
with named as (
    select source, event_id from production_event
    where site = %(site)s and kind in ('order', 'lot', 'material_use', 'output', 'return', 'scrap')
      and btrim(body ->> 'batch') = any(%(lots)s)
    union
    select source, event_id from production_event
    where site = %(site)s and kind in ('lot', 'material_use', 'output', 'return', 'scrap')
      and btrim(body ->> 'lot') = any(%(lots)s)
    union
    select source, event_id from production_event
    where site = %(site)s and kind in ('lot', 'material_use', 'output', 'return', 'scrap')
      and btrim(body ->> 'as_lot') = any(%(lots)s)
), about as (
    select e.* from named n
    join production_event e on e.site = %(site)s and e.source = n.source and e.event_id = n.event_id
    union all
    select w.* from named n
    join production_event w on w.site = %(site)s and w.source = n.source and w.kind = 'withdraw'
                            and btrim(w.body ->> 'event_id') = n.event_id
)
select source, event_id, revision, kind, at, body from about
where %(known_at)s::timestamptz is null or recorded_at <= %(known_at)s;

-- name: certificates
with named as (
    select source, event_id from production_event
    where site = %(site)s and kind = 'certificate' and at between %(from_at)s and %(to_at)s
), about as (
    select e.* from named n
    join production_event e on e.site = %(site)s and e.source = n.source and e.event_id = n.event_id
    union all
    select w.* from named n
    join production_event w on w.site = %(site)s and w.source = n.source and w.kind = 'withdraw'
                            and btrim(w.body ->> 'event_id') = n.event_id
)
select source, event_id, revision, kind, at, body from about
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

-- name: batch_reasons
select batch, code, place, message, remedy from batch_reason
where site = %(site)s and batch = any(%(batches)s) order by batch, code, place, at;

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
                      and w.kind = 'withdraw' and w.body ->> 'event_id' = e.event_id)
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
                      and w.kind = 'withdraw' and w.body ->> 'event_id' = e.event_id)
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
       work_unit, step, source, sum(amount)::bigint as amount
from posting
where site = %(site)s and hour_at >= %(from_at)s and hour_at < %(to_at)s and account_kind not in ('export', 'stock')
group by 1, 2, 3, 4, 5 having sum(amount) <> 0
order by 2, 3, 4, 5 limit %(limit)s;

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

-- name: batch_before
select o.batch from batch b
join batch o on o.site = b.site and o.product = b.product and o.unit = b.unit and o.started_at < b.started_at
            and o.status in ('finished', 'shipped')
where b.site = %(site)s and b.batch = %(batch)s and b.product <> '' order by o.started_at desc limit 1;

-- name: meter_hours
select hour_at, meter, (select coalesce(sum(part), 0) / 1e6 from unnest(amount) part)::float8 as amount
from interval where site = %(site)s and hour_at = any(%(hours)s::timestamptz[]);
