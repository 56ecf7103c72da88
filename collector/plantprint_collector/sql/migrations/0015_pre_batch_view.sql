-- Batches as lists and pages show them. `offset 0` keeps each question one of a batch: else those of all batches are hashed.
create view pp_batch as
select b.site, b.batch, b.product, b.quantity, b.unit, b.status, b.started_at, b.ended_at, l.body as live,
       exists (select from batch_reason r where r.site = b.site and r.batch = b.batch)
           or exists (select from batch_missing m where m.site = b.site and m.batch = b.batch offset 0)
           as has_reasons,
       coalesce((select s.status from batch_settlement s
                 where s.site = b.site and s.batch = b.batch and l.body is null), 'provisional') as footprint_status,
       exists (select from production_event o
               where o.site = b.site and o.kind = 'output' and btrim(o.body ->> 'batch') = b.batch
                 and coalesce(nullif(o.body ->> 'kind', ''), 'good') = 'good'
                 and not exists (select from production_event w where w.site = o.site and w.source = o.source
                                 and w.kind = 'withdraw' and btrim(w.body ->> 'event_id') = o.event_id) offset 0)
           as output_reported
from batch b left join live l on l.site = b.site and l.kind = 'batch' and l.id = b.batch;
