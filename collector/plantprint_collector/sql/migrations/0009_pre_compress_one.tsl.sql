-- One day per call, so that a transaction locks one and a broken-off run loses little; a day that late readings got into
-- after it was compressed counts as one that is not (of a chunk's status 1 means compressed, 8 only in part).
create or replace function pp_compress_before(rel regclass, before timestamptz) returns integer language plpgsql as $$
declare
    day regclass;
begin
    select chunk into day from show_chunks(rel, older_than => before) as chunk
    where _timescaledb_functions.chunk_status(chunk) & 9 <> 1 order by chunk::oid limit 1;
    if day is null then
        return 0;
    end if;
    perform compress_chunk(day, if_not_compressed => true);
    return 1;
end $$;
