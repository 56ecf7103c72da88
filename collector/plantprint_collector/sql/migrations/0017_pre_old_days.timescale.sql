-- Old days share a chunk of 30 days, so that a clock that was wrong, or years of history, do not make thousands of chunks.

-- The days (UTC) of `days` that lie in no chunk yet.
create function pp_missing(rel regclass, days timestamptz[]) returns setof timestamptz language sql stable as $$
    select day from unnest(days) as day
    where not exists (select from timescaledb_information.chunks c
                      where format('%I.%I', c.hypertable_schema, c.hypertable_name)::regclass = rel
                        and day >= c.range_start and day < c.range_end)
    order by day desc
$$;

-- Makes the chunk of an old day by a row that goes again; TimescaleDB makes the newer ones by itself, a day each. A chunk
-- never overlaps those that are there: it is cut.
create function pp_make_room(rel regclass, day timestamptz, months_before timestamptz) returns integer
language plpgsql as $$
begin
    if day + interval '30 days' > months_before then
        return 0;
    end if;
    perform pg_advisory_xact_lock(hashtext('pp_ensure'));
    if not exists (select from pp_missing(rel, array[day])) then
        return 0;
    end if;
    perform set_chunk_time_interval(rel, interval '30 days');
    execute format('insert into %s values (%L, 0, -1, 0, 0)', rel, day + interval '12 hours');
    perform set_chunk_time_interval(rel, interval '1 day');
    execute format('delete from %s where channel_id = -1 and measured_at = %L', rel, day + interval '12 hours');
    return 1;
end $$;
