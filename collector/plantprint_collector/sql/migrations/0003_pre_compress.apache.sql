-- The Apache edition of TimescaleDB has no columnstore.
create function pp_compress_before(rel regclass, before timestamptz) returns integer language sql as $$ select 0 $$;
