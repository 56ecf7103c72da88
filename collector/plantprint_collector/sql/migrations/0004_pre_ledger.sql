-- What accounting derives: intervals, hours, postings and live figures; statements and alerts.

-- One row per meter and hour; arrays hold one element per bucket (amounts in millionths of the meter's unit).
create table interval (
    site text not null,
    meter text not null,
    hour_at timestamptz not null,
    amount bigint[] not null,
    quality smallint[] not null,
    missing_ms integer[] not null,
    primary key (site, meter, hour_at)
);

-- Hours that were accounted; `carry` is the state at the hour's end (counter bases, pool stocks) that the next hour starts from.
create table accounted_hour (
    site text not null,
    hour_at timestamptz not null,
    status text not null check (status in ('provisional', 'settled')),
    carry jsonb not null,
    known_at timestamptz not null,
    primary key (site, hour_at)
);

create table posting (
    posting_id bigint generated always as identity primary key,
    site text not null,
    hour_at timestamptz not null,
    account_kind text not null,
    account_id text not null,
    work_unit text not null,
    step text not null,
    source text not null,
    entered_at timestamptz not null,
    quality smallint not null,
    portion text not null default 'direct' check (portion in ('direct', 'idle')),
    amount bigint not null,
    cause text not null,
    known_at timestamptz not null
);
create index posting_hour on posting (site, hour_at);
create index posting_account on posting (site, account_kind, account_id);

create function pp_append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: correct by adding, never by changing', tg_table_name;
end $$;
create trigger posting_append_only before update or delete on posting for each row execute function pp_append_only();

-- The live picture; rewritten many times a minute and rebuilt from facts at any time, hence unlogged.
create unlogged table live (
    site text not null,
    kind text not null check (kind in ('plant', 'work_center', 'batch', 'trend')),
    id text not null,
    body jsonb not null,
    updated_at timestamptz not null,
    primary key (site, kind, id)
) with (fillfactor = 50);

create table batch (
    site text not null,
    batch text not null,
    product text not null default '',
    quantity numeric,
    unit text not null default '',
    status text not null check (status in ('planned', 'running', 'finished', 'shipped')),
    started_at timestamptz,
    ended_at timestamptz,
    body jsonb not null default '{}',
    primary key (site, batch)
);
create index batch_started on batch (site, started_at);

create table issue (
    site text not null,
    origin text not null default '',
    code text not null,
    place text not null,
    message text not null,
    remedy text not null,
    at timestamptz not null,
    first_seen_at timestamptz not null default now(),
    last_seen_at timestamptz not null default now(),
    seen integer not null default 1,
    open boolean not null default true,
    primary key (site, code, place, at)
);

create table alert (
    alert_id uuid primary key default gen_random_uuid(),
    site text not null,
    work_center text not null,
    state text not null check (state in ('pending', 'firing', 'resolved')),
    limit_kg_co2e_per_hour numeric not null,
    rate_kg_co2e_per_hour numeric not null,
    pending_at timestamptz not null,
    firing_at timestamptz,
    resolved_at timestamptz,
    notified text not null default ''
);
-- At most one alert per line is under way, whoever restarts.
create unique index alert_under_way on alert (site, work_center) where state <> 'resolved';

create table statement (
    site text not null,
    shipment text not null,
    batch text not null,
    body text not null,
    body_hash text not null,
    issued_at timestamptz not null default clock_timestamp(),
    primary key (site, shipment, batch)
);
create trigger statement_append_only before update or delete on statement for each row execute function pp_append_only();

-- Per settled hour the time in which meters behind a batch were unknown.
create table batch_missing (
    site text not null,
    batch text not null,
    hour_at timestamptz not null,
    missing_ms bigint not null,
    primary key (site, batch, hour_at)
);

-- Batches whose figure was final: all time up to the end of their windows is settled. Others are provisional.
create table batch_settlement (
    site text not null,
    batch text not null,
    status text not null check (status in ('final', 'revised')),
    final_at timestamptz not null,
    primary key (site, batch)
);

-- Idle windows that ended in settled hours, and where what waited at a work unit or pool went.
create table window_end (
    site text not null,
    hour_at timestamptz not null,
    place text not null,
    start_at timestamptz not null,
    end_at timestamptz not null,
    outcome text not null check (outcome in ('spread', 'carried', 'overhead')),
    primary key (site, hour_at, place, end_at)
);
