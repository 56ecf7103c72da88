-- Readings on TimescaleDB: day chunks without the default time index, which would cost a third of the COPY rate.

create table reading (
    measured_at timestamptz not null,
    value bigint not null,
    channel_id integer not null,
    quality smallint not null,
    revision smallint not null default 0,
    primary key (channel_id, measured_at)
);
select create_hypertable('reading', by_range('measured_at', interval '1 day'), create_default_indexes => false);

create function pp_ensure(rel regclass, lo timestamptz, hi timestamptz) returns integer language sql as $$ select 0 $$;

create function pp_drop_before(rel regclass, before timestamptz) returns integer language sql as $$
    select count(*)::integer from drop_chunks(rel, before)
$$;
