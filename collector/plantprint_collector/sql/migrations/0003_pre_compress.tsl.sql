-- The columnstore: integers of one channel next to each other, about one byte a reading.
alter table reading set (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'channel_id',
    timescaledb.compress_orderby = 'measured_at'
);

create function pp_compress_before(rel regclass, before timestamptz) returns integer language sql as $$
    select count(compress_chunk(chunk, if_not_compressed => true))::integer
    from show_chunks(rel, older_than => before) as chunk
$$;
