-- The version of Azure OpenAI's API that a deployment is called by; empty: the default, which workers know.
ALTER TABLE deployments ADD COLUMN api_version {text} NOT NULL DEFAULT '';
