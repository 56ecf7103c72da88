-- Why batches are incomplete, by who says so: genealogy, a settled hour (`at` is its start), or production events.
alter table batch_reason add column origin text not null default 'genealogy'
    check (origin in ('genealogy', 'hour', 'production'));
create index batch_reason_hour on batch_reason (site, at) where origin = 'hour';
