-- Backups that were made, and what becomes of deleted organizations.

-- A row is written before a backup reads its first row, so that a deletion never misses one that may hold its keys.
-- keys_expire_at: until when its file of wrapped keys may be kept.
CREATE TABLE backups (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('bkp_{region}_')) = 'bkp_{region}_'),
    created_at BIGINT NOT NULL,
    keys_expire_at BIGINT NOT NULL
);

-- One row for each deleted organization; it and its counts stay, as the audit record of its end does.
-- usage_closed_at: from when on no usage of it is taken any more; its single events go after that.
CREATE TABLE destructions (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL PRIMARY KEY REFERENCES organizations (id)
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    deleted_at BIGINT NOT NULL,
    usage_closed_at BIGINT,
    finished_at BIGINT
);

CREATE TABLE destroyed_rows (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL REFERENCES destructions (organization_id),
    table_name {text} NOT NULL,
    destroyed BIGINT NOT NULL,
    PRIMARY KEY (organization_id, table_name)
);

-- Rows of one organization are looked for table by table.
CREATE INDEX model_deployments_by_organization ON model_deployments (organization_id);
