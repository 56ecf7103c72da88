-- A batch rests between two jobs until its output is reported, it is shipped, or long enough has passed.
alter table batch drop constraint batch_status_check;
alter table batch add constraint batch_status_check
    check (status in ('planned', 'running', 'waiting', 'finished', 'shipped'));
