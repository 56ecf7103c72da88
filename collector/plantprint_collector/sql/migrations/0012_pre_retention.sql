-- Raw readings may go after a time. First it goes on record what is going to be dropped, and is never accounted again.

create table reading_drop (
    dropped_before timestamptz primary key,
    recorded_at timestamptz not null default clock_timestamp()
);
-- Since when a channel has had readings, where its first ones were dropped.
alter table channel add column first_at timestamptz;

-- What is measured before this instant counts as dropped; 'epoch' while nothing is.
create function pp_readings_from() returns timestamptz language sql stable as $$
    select coalesce(max(dropped_before), 'epoch') from reading_drop
$$;

-- Until when each site that has a plant model and readings has settled its hours, and worked in what is marked.
create function pp_settled() returns table (site text, until timestamptz) language sql stable as $$
    select s.site, least(coalesce((select h.hour_at from accounted_hour h where h.site = s.site and h.status = 'settled'
                                   order by h.hour_at desc limit 1), 'epoch'),
                         (select min(from_at) from dirty d where d.site = s.site))
    from site s where exists (select from plant_model m where m.site = s.site)
    and exists (select from channel c join latest using (channel_id) where c.site = s.site)
$$;

-- Records that readings before a full day (UTC), at most `before`, count as dropped; returns since when they are kept. Days
-- that are not settled everywhere stay. Who accounts holds `reading_drop` from before the snapshot on (row share), so that
-- nobody who still counts on these readings is under way when this commits.
create function pp_forget_before(before timestamptz) returns timestamptz language plpgsql as $$
declare
    edge timestamptz;
begin
    if date_trunc('day', before, 'UTC') <= pp_readings_from() then
        return pp_readings_from();
    end if;
    lock table reading_drop in exclusive mode;
    edge := date_trunc('day', least(before, (select min(until) from pp_settled())), 'UTC');
    if edge <= pp_readings_from() then
        return pp_readings_from();
    end if;
    update channel c set first_at = f.at
    from (select channel_id, (select measured_at from reading r where r.channel_id = n.channel_id
                              order by measured_at limit 1) as at from channel n where n.first_at is null) f
    where f.channel_id = c.channel_id and f.at < edge;
    insert into reading_drop (dropped_before) values (edge);
    return edge;
end $$;
