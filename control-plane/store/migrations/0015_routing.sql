-- How a model's calls are spread over its deployments, and which models stand in for it.

-- strategy: 'weighted', 'least_in_flight' or 'lowest_latency'. The fallbacks are names of models of the same organization; no foreign keys, because rows of one table
-- would refer to each other, and could neither be restored nor destroyed in batches. A name that no model has is no fallback.
ALTER TABLE models ADD COLUMN strategy {text} NOT NULL DEFAULT 'weighted';
ALTER TABLE models ADD COLUMN fallback_model {text};
ALTER TABLE models ADD COLUMN context_window_fallback_model {text};
ALTER TABLE models ADD COLUMN content_policy_fallback_model {text};

-- tier: lower ones are called first; NULL, as in rows from before: the position. weight: the share of the calls of a tier.
ALTER TABLE model_deployments ADD COLUMN tier BIGINT;
ALTER TABLE model_deployments ADD COLUMN weight BIGINT NOT NULL DEFAULT 1;
