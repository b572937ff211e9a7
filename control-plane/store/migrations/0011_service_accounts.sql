-- Programs of an organization that administer it, and the keys that sign the tokens by which they do.

-- role: 'owner', 'admin', 'viewer' or 'member'. digest: HMAC of the whole secret under the region's pepper. version: counts the secrets.
CREATE TABLE service_accounts (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('svc_{region}_')) = 'svc_{region}_'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    name {blob} NOT NULL,
    role {text} NOT NULL,
    digest {blob} NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT,
    revoked_at BIGINT,
    UNIQUE (organization_id, id)
);

-- sealed: the private key, under the region's own data key.
CREATE TABLE token_keys (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('tkey_{region}_')) = 'tkey_{region}_'),
    sealed {blob} NOT NULL,
    created_at BIGINT NOT NULL
);
