-- Everything that a region keeps.
--
-- What stands in braces is filled in by src/migrate.rs: {region} with this region's short form, {text} and {blob} with the
-- backend's types. So every table says of itself which region it is of, and a row of another one cannot be inserted: neither one
-- that names another region, nor one whose identifier does.
--
-- Times are microseconds since the Unix epoch, amounts nano-dollars, flags 0 or 1.

CREATE TABLE cluster_identity (
    region {text} NOT NULL PRIMARY KEY DEFAULT '{region}' CHECK (region = '{region}'),
    region_name {text} NOT NULL,
    installation {text} NOT NULL,
    epoch {text} NOT NULL,
    created_at BIGINT NOT NULL
);

-- One row. Its lock orders all configuration changes; `trimmed` is the newest revision that the log has forgotten.
CREATE TABLE region_revision (
    region {text} NOT NULL PRIMARY KEY DEFAULT '{region}' CHECK (region = '{region}'),
    revision BIGINT NOT NULL DEFAULT 0,
    trimmed BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE configuration_changes (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    revision BIGINT NOT NULL,
    kind {text} NOT NULL,
    resource_id {text} NOT NULL,
    PRIMARY KEY (revision, kind, resource_id)
);

CREATE TABLE region_secrets (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    name {text} NOT NULL PRIMARY KEY,
    sealed {blob} NOT NULL
);

-- scope: an organization's identifier, or 'region'.
CREATE TABLE data_keys (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    scope {text} NOT NULL
        CHECK (scope = 'region' OR substr(scope, 1, length('org_{region}_')) = 'org_{region}_'),
    version BIGINT NOT NULL,
    wrapped {blob} NOT NULL,
    PRIMARY KEY (scope, version)
);

CREATE TABLE idempotency_keys (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    method {text} NOT NULL,
    idempotency_key {text} NOT NULL,
    subject {text} NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (method, idempotency_key)
);

-- Rows stay when the organization is deleted: late usage is still accounted to it.
CREATE TABLE organizations (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('org_{region}_')) = 'org_{region}_'),
    name {blob} NOT NULL,
    contact_email {blob},
    contact_email_hash {blob},
    status {text} NOT NULL,
    on_stale {text} NOT NULL,
    created_at BIGINT NOT NULL
);

-- allowed_models: public names with spaces between them, which no name contains; empty: all.
CREATE TABLE api_keys (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('key_{region}_')) = 'key_{region}_'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    name {blob} NOT NULL,
    digest {blob} NOT NULL,
    allowed_models {text} NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    UNIQUE (organization_id, id)
);
CREATE INDEX api_keys_expiring ON api_keys (expires_at) WHERE revoked_at IS NULL AND expires_at IS NOT NULL;

CREATE TABLE credentials (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('cred_{region}_')) = 'cred_{region}_'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    name {blob} NOT NULL,
    secret {blob} NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    replaced_at BIGINT,
    UNIQUE (organization_id, id)
);

-- The references name the organization too: nobody's deployment uses somebody else's credential.
CREATE TABLE deployments (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('dep_{region}_')) = 'dep_{region}_'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    provider {text} NOT NULL,
    endpoint {text} NOT NULL,
    upstream_model {text} NOT NULL,
    credential_id {text} NOT NULL,
    price_input BIGINT,
    price_output BIGINT,
    price_cached_input BIGINT,
    price_cache_write BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (organization_id, id),
    FOREIGN KEY (organization_id, credential_id) REFERENCES credentials (organization_id, id)
);
CREATE INDEX deployments_by_credential ON deployments (credential_id);

CREATE TABLE models (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    name {text} NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (organization_id, id),
    UNIQUE (organization_id, name)
);

CREATE TABLE model_deployments (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL,
    model_id {text} NOT NULL,
    position BIGINT NOT NULL,
    deployment_id {text} NOT NULL,
    PRIMARY KEY (model_id, position),
    UNIQUE (model_id, deployment_id),
    FOREIGN KEY (organization_id, model_id) REFERENCES models (organization_id, id),
    FOREIGN KEY (organization_id, deployment_id) REFERENCES deployments (organization_id, id)
);
CREATE INDEX model_deployments_by_deployment ON model_deployments (deployment_id);

CREATE TABLE join_tokens (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('join_{region}_')) = 'join_{region}_'),
    digest {blob} NOT NULL,
    role {text} NOT NULL,
    name {text} NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE TABLE workers (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('wrk_{region}_')) = 'wrk_{region}_'),
    role {text} NOT NULL,
    name {text} NOT NULL,
    enrolled_at BIGINT NOT NULL,
    certificate_expires_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    removed_at BIGINT
);
CREATE UNIQUE INDEX workers_by_name ON workers (role, name) WHERE removed_at IS NULL;

-- The head of each audit chain: its newest record's number and hash. Its lock orders the chain.
CREATE TABLE audit_chains (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    chain {text} NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    hash {blob} NOT NULL
);

CREATE TABLE audit_records (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    chain {text} NOT NULL REFERENCES audit_chains (chain),
    sequence BIGINT NOT NULL,
    at BIGINT NOT NULL,
    actor {blob} NOT NULL,
    action {text} NOT NULL,
    subject {text} NOT NULL,
    revision BIGINT,
    hash {blob} NOT NULL,
    PRIMARY KEY (chain, sequence)
);

-- No foreign keys: what a call refers to may be deleted before its usage arrives.
CREATE TABLE usage_events (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    event_id {text} NOT NULL PRIMARY KEY,
    request_id {text} NOT NULL,
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    key_id {text} NOT NULL,
    model_id {text} NOT NULL,
    deployment_id {text} NOT NULL,
    call_type {text} NOT NULL,
    stream BIGINT NOT NULL,
    status BIGINT NOT NULL,
    call_end {text} NOT NULL,
    source {text} NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nanos_usd BIGINT NOT NULL,
    priced BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    first_byte_at BIGINT,
    finished_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL
);
CREATE INDEX usage_events_by_organization ON usage_events (organization_id, event_id);

-- hour: the start of the hour in which the call started.
CREATE TABLE usage_hourly (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    hour BIGINT NOT NULL,
    key_id {text} NOT NULL,
    model_id {text} NOT NULL,
    calls BIGINT NOT NULL,
    failed_calls BIGINT NOT NULL,
    unpriced_calls BIGINT NOT NULL,
    prompt_tokens BIGINT NOT NULL,
    completion_tokens BIGINT NOT NULL,
    cached_prompt_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    cost_nanos_usd BIGINT NOT NULL,
    PRIMARY KEY (organization_id, hour, key_id, model_id)
);
