-- Readings on plain PostgreSQL: day partitions that pp_ensure adds and pp_drop_before removes.

create table reading (
    measured_at timestamptz not null,
    value bigint not null,
    channel_id integer not null,
    quality smallint not null,
    revision smallint not null default 0,
    primary key (channel_id, measured_at)
) partition by range (measured_at);

-- Creates the missing days of [lo, hi]. Made apart and attached, which locks the parent less than PARTITION OF.
create function pp_ensure(rel regclass, lo timestamptz, hi timestamptz) returns integer language plpgsql as $$
declare
    day timestamptz := date_trunc('day', lo, 'UTC');
    part text;
    made integer := 0;
begin
    while day <= hi loop
        part := rel::text || '_' || to_char(day at time zone 'UTC', 'YYYYMMDD');
        if to_regclass(part) is null then
            perform pg_advisory_xact_lock(hashtext('pp_ensure'));
            if to_regclass(part) is null then
                execute format('create table %I (like %s including all)', part, rel);
                execute format('alter table %s attach partition %I for values from (%L) to (%L)',
                               rel, part, day, day + interval '1 day');
                made := made + 1;
            end if;
        end if;
        day := day + interval '1 day';
    end loop;
    return made;
end $$;

create function pp_drop_before(rel regclass, before timestamptz) returns integer language plpgsql as $$
declare
    part record;
    dropped integer := 0;
begin
    for part in
        select inhrelid::regclass as name from pg_inherits where inhparent = rel
        and to_date(right(inhrelid::regclass::text, 8), 'YYYYMMDD') + 1 <= (before at time zone 'UTC')::date
    loop
        execute format('drop table %s', part.name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end $$;

create function pp_compress_before(rel regclass, before timestamptz) returns integer language sql as $$ select 0 $$;
