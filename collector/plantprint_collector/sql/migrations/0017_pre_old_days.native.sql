-- Old days share a table a month, so that a clock that was wrong, or years of history, do not make thousands of tables.

-- The days (UTC) of `days` that have no room yet. A table is named after its day (20260301) or its month (202603).
create function pp_missing(rel regclass, days timestamptz[]) returns setof timestamptz language sql stable as $$
    select day from unnest(days) as day
    where to_regclass(rel::text || '_' || to_char(day at time zone 'UTC', 'YYYYMMDD')) is null
      and to_regclass(rel::text || '_' || to_char(day at time zone 'UTC', 'YYYYMM')) is null
    order by day desc
$$;

-- Makes room for a day: for its month at once where that has ended by `months_before` and none of its days has a table.
create function pp_make_room(rel regclass, day timestamptz, months_before timestamptz) returns integer
language plpgsql as $$
declare
    month timestamptz := date_trunc('month', day, 'UTC');
    month_end timestamptz := (date_trunc('month', day at time zone 'UTC') + interval '1 month') at time zone 'UTC';
    part text := rel::text || '_' || to_char(day at time zone 'UTC', 'YYYYMM');
begin
    perform pg_advisory_xact_lock(hashtext('pp_ensure'));
    if to_regclass(part) is not null then
        return 0;
    end if;
    if month_end > months_before or exists (
        select from pg_inherits where inhparent = rel and inhrelid::regclass::text ~ ('^' || part || '\d\d$')) then
        return pp_ensure(rel, day, day);
    end if;
    execute format('create table %I (like %s including all)', part, rel);
    execute format('alter table %s attach partition %I for values from (%L) to (%L)', rel, part, month, month_end);
    return 1;
end $$;

-- Drops the oldest day or month that counts as dropped, after it is on record; one per call, so that few locks are held.
create or replace function pp_drop_before(rel regclass, before timestamptz) returns integer language plpgsql as $$
declare
    edge timestamptz := pp_forget_before(before);
    part text;
begin
    select name into part from (
        select inhrelid::regclass::text as name, substring(inhrelid::regclass::text from '\d+$') as stamp
        from pg_inherits where inhparent = rel) p
    where (case length(stamp) when 8 then to_date(stamp, 'YYYYMMDD') + interval '1 day'
           else to_date(stamp, 'YYYYMM') + interval '1 month' end) <= edge at time zone 'UTC'
    order by stamp limit 1;
    if part is null then
        return 0;
    end if;
    execute format('drop table %s', part);
    return 1;
end $$;
