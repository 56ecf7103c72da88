-- A production event marks the instants at which it changes something, not all the time between them: events of that time
-- need not be read again when one is moved or withdrawn months later.
create or replace function pp_mark_event() returns trigger language plpgsql as $$
begin
    -- Earlier revisions of the event, and the event that a withdrawal names, stop counting where they were.
    insert into dirty (site, from_at, to_at, cause)
    select new.site, at, at, 'event ' || new.kind from (
        select new.at
        union
        select at from production_event
        where site = new.site and source = new.source
          and event_id in (new.event_id, case new.kind when 'withdraw' then btrim(new.body ->> 'event_id') end)
    ) touched;
    perform pg_notify('plantprint_event', new.site);
    return null;
end $$;
