-- Events of genealogy and of markets as the collector and the api both read them: with every revision and withdrawal.

create function pp_revisions(of_site text, of_source text, of_event text) returns setof production_event
language sql stable as $$
    select * from production_event where site = of_site and source = of_source and event_id = of_event
    union all
    select * from production_event
    where site = of_site and source = of_source and kind = 'withdraw' and btrim(body ->> 'event_id') = of_event
$$;

-- Each name of a lot has an index of its own; later revisions come along, whatever they say.
create function pp_lot_events(of_site text, lots text[]) returns setof production_event language sql stable as $$
    select e.* from (
        select source, event_id from production_event
        where site = of_site and kind in ('order', 'lot', 'material_use', 'output', 'return', 'scrap')
          and btrim(body ->> 'batch') = any(lots)
        union
        select source, event_id from production_event
        where site = of_site and kind in ('lot', 'material_use', 'output', 'return', 'scrap')
          and btrim(body ->> 'lot') = any(lots)
        union
        select source, event_id from production_event
        where site = of_site and kind in ('lot', 'material_use', 'output', 'return', 'scrap')
          and btrim(body ->> 'as_lot') = any(lots)
    ) n cross join lateral pp_revisions(of_site, n.source, n.event_id) e
$$;

-- Those whose instant lies in the range, both ends included.
create function pp_certificates(of_site text, from_at timestamptz, to_at timestamptz) returns setof production_event
language sql stable as $$
    select e.* from (
        select distinct source, event_id from production_event
        where site = of_site and kind = 'certificate' and at between from_at and to_at
    ) n cross join lateral pp_revisions(of_site, n.source, n.event_id) e
$$;
