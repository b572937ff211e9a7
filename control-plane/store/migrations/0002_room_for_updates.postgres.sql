-- PostgreSQL only. These rows are updated with nearly every transaction: room in their pages keeps the new version
-- beside the old one (a heap-only tuple), without touching an index.
ALTER TABLE region_revision SET (fillfactor = 10);
ALTER TABLE audit_chains SET (fillfactor = 50);
ALTER TABLE usage_hourly SET (fillfactor = 50);
ALTER TABLE workers SET (fillfactor = 50);
