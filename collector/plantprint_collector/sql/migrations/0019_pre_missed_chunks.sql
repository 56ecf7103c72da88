-- Chunks below the newest that had not come when their agent said that it has nothing old left to deliver. One that comes after
-- all counts as received like any other, so what is missed for good is `missed` without `chunks`.
alter table received add column missed int8multirange not null default '{}';
-- Since when the epoch is known here, as far as that is known: what an agent delivered before this database first heard of it is
-- not missed.
alter table received add column first_at timestamptz not null default 'epoch';
alter table received alter column first_at set default now();
