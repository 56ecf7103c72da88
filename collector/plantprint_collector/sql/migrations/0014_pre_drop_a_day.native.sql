-- Drops the oldest day that counts as dropped, after it is on record; a day per call, so that few locks are held.
create or replace function pp_drop_before(rel regclass, before timestamptz) returns integer language plpgsql as $$
declare
    edge timestamptz := pp_forget_before(before);
    day text;
begin
    select min(inhrelid::regclass::text) into day from pg_inherits where inhparent = rel
    and to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') < (edge at time zone 'UTC')::date;
    if day is null then
        return 0;
    end if;
    execute format('drop table %s', day);
    return 1;
end $$;
