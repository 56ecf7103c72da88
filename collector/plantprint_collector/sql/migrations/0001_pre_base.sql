-- Places where facts are kept: sites, channels, readings, events, models, and what was received or refused.
-- Time is timestamptz at millisecond resolution, amounts are integers; names end in _at for instants.

create table meta (
    key text primary key,
    value text not null
);
-- A new store id makes every agent send again what it kept: drawn at creation, and anew after a restore.
insert into meta values ('store_id', gen_random_uuid()::text);

create table site (
    site text primary key,
    name jsonb not null default '{}',
    clock jsonb not null default '{"kind": "wall"}',
    created_at timestamptz not null default now()
);

create table agent (
    site text not null,
    agent text not null,
    state jsonb not null,
    seen_at timestamptz not null,
    primary key (site, agent)
);

create table channel (
    channel_id integer generated always as identity primary key,
    site text not null,
    agent text not null,
    name text not null,
    unit text not null,
    decimals smallint not null,
    kind text not null check (kind in ('counter', 'gauge', 'amount')),
    period_s integer not null default 0,
    declared_at timestamptz not null default now(),
    unique (site, agent, name, unit, decimals, kind, period_s)
);

-- The table of an agent by its hash: a row's channel index is the position in channel_ids (from 0).
create table channel_table (
    site text not null,
    agent text not null,
    hash text not null,
    channel_ids integer[] not null,
    primary key (site, agent, hash)
);

-- `reading` itself differs per tier: see 0002 (native) and its TimescaleDB twin. No foreign key: it costs a factor of four.

create table latest (
    channel_id integer primary key,
    measured_at timestamptz not null,
    value bigint not null,
    quality smallint not null,
    revision smallint not null,
    received_at timestamptz not null
) with (fillfactor = 70);

create table received (
    site text not null,
    agent text not null,
    epoch text not null,
    chunks int8multirange not null default '{}',
    updated_at timestamptz not null default now(),
    primary key (site, agent, epoch)
);

-- Append-only marks of what changed; the accountant takes them with SKIP LOCKED and deletes what it has worked in.
create table dirty (
    dirty_id bigint generated always as identity primary key,
    site text not null,
    channel_id integer,
    from_at timestamptz not null,
    to_at timestamptz not null,
    cause text not null
);
create index dirty_site on dirty (site, dirty_id);

create table dead_letter (
    dead_letter_id bigint generated always as identity primary key,
    received_at timestamptz not null default now(),
    topic text not null,
    agent text,
    epoch text,
    seq bigint,
    acknowledged boolean not null,
    reason text not null,
    payload bytea not null,
    content_hash text not null,
    seen integer not null default 1,
    unique (topic, content_hash, reason)
);

create table rejected_reading (
    rejected_id bigint generated always as identity primary key,
    received_at timestamptz not null default now(),
    site text not null,
    agent text not null,
    epoch text not null,
    seq bigint not null,
    channel text not null,
    t_ms bigint not null,
    value bigint not null,
    quality smallint not null,
    reason text not null
);

create table gap (
    site text not null,
    agent text not null,
    epoch text not null,
    seq bigint not null,
    from_at timestamptz not null,
    to_at timestamptz not null,
    lost_chunks bigint not null,
    lost_rows bigint not null,
    reason text not null,
    primary key (site, agent, epoch, seq)
);

create table reading_conflict (
    channel_id integer not null,
    measured_at timestamptz not null,
    kept bigint not null,
    refused bigint not null,
    seen integer not null default 1,
    primary key (channel_id, measured_at, kept, refused)
);

create table production_event (
    site text not null,
    source text not null,
    event_id text not null,
    revision integer not null,
    kind text not null,
    at timestamptz not null,
    body jsonb not null,
    recorded_at timestamptz not null default clock_timestamp(),
    primary key (site, source, event_id, revision)
);
create index production_event_at on production_event (site, at);

create table plant_model (
    site text not null,
    version integer not null,
    effective_at timestamptz,
    known_at timestamptz not null default clock_timestamp(),
    body jsonb not null,
    yaml text not null,
    primary key (site, version)
);

create table factor (
    factor_id text not null,
    version integer not null,
    body jsonb not null,
    known_at timestamptz not null default clock_timestamp(),
    primary key (factor_id, version)
);
