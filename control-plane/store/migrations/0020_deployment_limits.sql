-- Limits may be for deployments, too. Constraints that name a table's columns cannot be changed everywhere, so the tables are made anew; what is lent lives on.

-- deployments: as keys and models.
CREATE TABLE limits_anew (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    number BIGINT NOT NULL CHECK (number > 0),
    measure {text} NOT NULL,
    keys {text} NOT NULL
        CHECK (keys IN ('all', 'each') OR substr(keys, 1, length('key_{region}_')) = 'key_{region}_'),
    models {text} NOT NULL
        CHECK (models IN ('all', 'each') OR substr(models, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    deployments {text} NOT NULL DEFAULT 'all'
        CHECK (deployments IN ('all', 'each') OR substr(deployments, 1, length('dep_{region}_')) = 'dep_{region}_'),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, number),
    UNIQUE (organization_id, measure, keys, models, deployments)
);
INSERT INTO limits_anew (region, organization_id, number, measure, keys, models, deployments, amount, created_at)
    SELECT region, organization_id, number, measure, keys, models, 'all', amount, created_at FROM limits;
DROP TABLE limits;
ALTER TABLE limits_anew RENAME TO limits;

-- deployment_id: '' where the limit is not by deployment.
CREATE TABLE quota_accounts_anew (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    number BIGINT NOT NULL,
    key_id {text} NOT NULL CHECK (key_id = '' OR substr(key_id, 1, length('key_{region}_')) = 'key_{region}_'),
    model_id {text} NOT NULL
        CHECK (model_id = '' OR substr(model_id, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    deployment_id {text} NOT NULL DEFAULT ''
        CHECK (deployment_id = '' OR substr(deployment_id, 1, length('dep_{region}_')) = 'dep_{region}_'),
    window_starts BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    PRIMARY KEY (organization_id, number, key_id, model_id, deployment_id)
);
INSERT INTO quota_accounts_anew (region, organization_id, number, key_id, model_id, deployment_id, window_starts, gone)
    SELECT region, organization_id, number, key_id, model_id, '', window_starts, gone FROM quota_accounts;
DROP TABLE quota_accounts;
ALTER TABLE quota_accounts_anew RENAME TO quota_accounts;

CREATE TABLE quota_leases_anew (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    number BIGINT NOT NULL,
    key_id {text} NOT NULL CHECK (key_id = '' OR substr(key_id, 1, length('key_{region}_')) = 'key_{region}_'),
    model_id {text} NOT NULL
        CHECK (model_id = '' OR substr(model_id, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    deployment_id {text} NOT NULL DEFAULT ''
        CHECK (deployment_id = '' OR substr(deployment_id, 1, length('dep_{region}_')) = 'dep_{region}_'),
    holder BIGINT NOT NULL,
    window_starts BIGINT NOT NULL,
    opening BIGINT NOT NULL,
    extra BIGINT NOT NULL,
    returned BIGINT NOT NULL,
    consumed BIGINT NOT NULL,
    standing BIGINT NOT NULL,
    standing_most BIGINT NOT NULL,
    standing_version BIGINT NOT NULL,
    lost BIGINT NOT NULL,
    PRIMARY KEY (organization_id, number, key_id, model_id, deployment_id, holder)
);
INSERT INTO quota_leases_anew (region, organization_id, number, key_id, model_id, deployment_id, holder, window_starts,
        opening, extra, returned, consumed, standing, standing_most, standing_version, lost)
    SELECT region, organization_id, number, key_id, model_id, '', holder, window_starts,
        opening, extra, returned, consumed, standing, standing_most, standing_version, lost FROM quota_leases;
DROP TABLE quota_leases;
ALTER TABLE quota_leases_anew RENAME TO quota_leases;
