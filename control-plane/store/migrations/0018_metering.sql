-- Tokens that were written into a provider's cache, images and audio: counts of their own.
ALTER TABLE usage_events ADD COLUMN cache_write_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_events ADD COLUMN cache_write_hour_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_events ADD COLUMN images BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_events ADD COLUMN audio_millis BIGINT NOT NULL DEFAULT 0;

ALTER TABLE usage_hourly ADD COLUMN estimated_calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN cache_write_tokens BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN images BIGINT NOT NULL DEFAULT 0;
ALTER TABLE usage_hourly ADD COLUMN audio_millis BIGINT NOT NULL DEFAULT 0;

ALTER TABLE deployments ADD COLUMN price_image BIGINT;
ALTER TABLE deployments ADD COLUMN price_audio_minute BIGINT;
