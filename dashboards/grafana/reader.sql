-- Written by `plantprint dashboards build`.
-- Run it with psql as the owner of the database, after each migration; once, give the role a password:
-- \password plantprint_reader
do $$
declare
    view regclass;
begin
    if not exists (select from pg_roles where rolname = 'plantprint_reader') then
        create role plantprint_reader login;
    end if;
    for view in
        select c.oid from pg_class c
        where c.relkind = 'v' and c.relname like 'report\_%' and c.relnamespace = current_schema()::regnamespace
    loop
        execute format('grant select on %s to plantprint_reader', view);
    end loop;
    execute format('grant usage on schema %I to plantprint_reader', current_schema());
end $$;
alter role plantprint_reader set statement_timeout = '15s';
alter role plantprint_reader set default_transaction_read_only = on;
alter role plantprint_reader connection limit 10;
