-- PostgreSQL only. Blocks are written once and seldom read: to compress them takes longer than to write them.
ALTER TABLE usage_blocks ALTER COLUMN event_ids SET STORAGE EXTERNAL;
ALTER TABLE usage_blocks ALTER COLUMN records SET STORAGE EXTERNAL;
