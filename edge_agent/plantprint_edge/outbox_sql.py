"""The outbox in SQL: its tables, how a stored chunk is read, and which chunks may be deleted."""

SCHEMA = """
pragma user_version = 1;
-- Ids are never used twice: the uplink's place in the queue is an id.
create table if not exists chunk (
    id integer primary key autoincrement,
    epoch text not null,
    seq integer not null,
    kind text not null,
    table_hash text not null,
    n integer not null,
    created_ms integer not null,
    acked_ms integer,
    unique (epoch, seq)
) strict;
create index if not exists chunk_acked on chunk (acked_ms);
create index if not exists chunk_unacked on chunk (epoch, seq) where acked_ms is null;
create index if not exists chunk_table on chunk (kind, table_hash);
-- Apart, because SQLite writes a whole row anew to mark it as acknowledged.
create table if not exists payload (id integer primary key, bytes blob not null) strict;
create table if not exists loss (
    reason text primary key, from_ms integer, to_ms integer, lost_chunks integer, lost_rows integer
) strict;
create table if not exists meta (key text primary key, value text not null) strict;
"""
STORED = "select id, epoch, seq, n, table_hash, bytes from chunk join payload using (id)"
# A channel table stays while it is current, or a stored chunk refers to it; an older copy of the same table need not.
PURGEABLE = """
select id from chunk as c where acked_ms < ? and (
    kind <> 'declare'
    or exists (select 1 from chunk as d where d.table_hash = c.table_hash and d.kind = 'declare' and d.id > c.id)
    or (table_hash not in (select value from json_each(?))
        and not exists (select 1 from chunk as r where r.table_hash = c.table_hash and r.kind = 'readings')))
order by acked_ms, id limit ?
"""
