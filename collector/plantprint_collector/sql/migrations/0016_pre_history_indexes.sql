-- What is asked again and again must not cost more after a year than after a day.

-- Lists, newest first.
create index batch_newest on batch (coalesce(started_at, '-infinity'), site, batch);
create index issue_newest on issue (at, site, code, place);
create index production_event_shipped on production_event (at, site) where kind = 'shipment';
-- The few among many: asked in every pass or look.
create index issue_open on issue (site, origin, at) where open;
create index alert_untold on alert (site, pending_at) where state <> 'pending' and notified <> state;
create index batch_missing_hour on batch_missing (site, hour_at);
-- By another name than the key's first.
create index issue_code on issue (site, code, at);
create index statement_batch on statement (site, batch);
create index production_event_of_shipment on production_event ((body ->> 'shipment')) where kind = 'shipment';
