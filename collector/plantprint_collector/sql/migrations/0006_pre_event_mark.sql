-- Whoever stores a production event (an agent's chunk, MQTT, REST) marks its site dirty in the same transaction.

create function pp_mark_event() returns trigger language plpgsql as $$
declare
    lo timestamptz;
    hi timestamptz;
begin
    -- Earlier revisions of the event, and the event that a withdrawal names, stop counting where they were.
    select least(new.at, min(at)), greatest(new.at, max(at)) into lo, hi
    from production_event
    where site = new.site and source = new.source
      and (event_id = new.event_id or (new.kind = 'withdraw' and event_id = new.body ->> 'event_id'));
    insert into dirty (site, from_at, to_at, cause) values (new.site, lo, hi, 'event ' || new.kind);
    perform pg_notify('plantprint_event', new.site);
    return null;
end $$;
create trigger production_event_mark after insert on production_event for each row execute function pp_mark_event();

-- Rows that are set aside keep what was sent, which may be beyond every integer type.
alter table rejected_reading alter column t_ms type numeric, alter column value type numeric,
    alter column quality type numeric;
-- What a later replay needs to store them after all; null where the sender named no channel we know.
alter table rejected_reading add column channel_id integer, add column revision smallint not null default 0;
