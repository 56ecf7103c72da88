-- Drops the oldest day that counts as dropped, after it is on record; a day per call, so that few locks are held.
create or replace function pp_drop_before(rel regclass, before timestamptz) returns integer language plpgsql as $$
declare
    edge timestamptz := pp_forget_before(before);
    day_end timestamptz;
begin
    select min(range_end) into day_end from timescaledb_information.chunks
    where format('%I.%I', hypertable_schema, hypertable_name)::regclass = rel and range_end <= edge;
    if day_end is null then
        return 0;
    end if;
    perform drop_chunks(rel, older_than => day_end);
    return 1;
end $$;
