"""The outbox in SQL: its tables, how a chunk is stored and read, and which chunks may be deleted."""

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
create index if not exists chunk_declare on chunk (table_hash) where kind = 'declare';
-- Earlier versions had these; every chunk was entered in them, and only a few are ever looked for.
drop index if exists chunk_unacked;
drop index if exists chunk_table;
-- Apart, because SQLite writes a whole row anew to mark it as acknowledged.
create table if not exists payload (id integer primary key, bytes blob not null) strict;
create table if not exists loss (
    reason text primary key, from_ms integer, to_ms integer, lost_chunks integer, lost_rows integer
) strict;
create table if not exists meta (key text primary key, value text not null) strict;
"""
STORE = """
insert into chunk (id, epoch, seq, kind, table_hash, n, created_ms) values (?, ?, ?, ?, ?, ?, ?);
insert into payload (id, bytes) values (?, ?)
"""
# The ids of an epoch grow with its numbers, so a range of numbers is one of ids, and those in it that wait are found by the
# index; there may be a million that do not. ?1 instant, ?2 epoch, ?3 and ?4 the first and the last number.
ACKNOWLEDGE = """
update chunk indexed by chunk_acked set acked_ms = ?1 where acked_ms is null and epoch = ?2 and seq between ?3 and ?4
and id between (select id from chunk where epoch = ?2 and seq >= ?3 order by seq limit 1)
           and (select id from chunk where epoch = ?2 and seq <= ?4 order by seq desc limit 1)
"""
STORED = "select id, epoch, seq, n, table_hash, bytes from chunk join payload using (id)"
# A channel table stays while it is current, or a stored chunk refers to it; an older copy of the same table need not. Chunks
# that refer to a table which is no longer current are among the oldest, where the search for one (`r`) begins.
PURGEABLE = """
select id from chunk as c where acked_ms < ? and (
    kind <> 'declare'
    or exists (select 1 from chunk as d where d.table_hash = c.table_hash and d.kind = 'declare' and d.id > c.id)
    or (table_hash not in (select value from json_each(?))
        and not exists (select 1 from chunk as r where r.table_hash = c.table_hash and r.kind = 'readings')))
order by acked_ms, id limit ?
"""
