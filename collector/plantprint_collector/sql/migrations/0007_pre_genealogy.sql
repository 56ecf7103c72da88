-- Genealogy: the events behind a lot are found by the names in them, and batches say why they are incomplete.

create index production_event_batch on production_event (site, btrim(body ->> 'batch'))
    where kind in ('order', 'lot', 'material_use', 'output', 'return', 'scrap');
create index production_event_lot on production_event (site, btrim(body ->> 'lot'))
    where kind in ('lot', 'material_use', 'output', 'return', 'scrap');
create index production_event_as_lot on production_event (site, btrim(body ->> 'as_lot'))
    where kind in ('lot', 'material_use', 'output', 'return', 'scrap');
create index production_event_withdrawn on production_event (site, source, btrim(body ->> 'event_id'))
    where kind = 'withdraw';

create index production_event_certificate on production_event (site, at) where kind = 'certificate';

-- What is wrong with lots that a batch carries a part of, kept by the accountant as events come; `place` is the lot.
create table batch_reason (
    site text not null,
    batch text not null,
    code text not null,
    place text not null,
    at timestamptz not null,
    message text not null,
    remedy text not null,
    primary key (site, batch, code, place, at, message)
);

create view report_batch_reason as
select site, batch, code, place, at, message, remedy from batch_reason;
