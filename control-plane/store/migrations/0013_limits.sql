-- How much of something an organization's calls may use.

-- The newest number that a limit of the organization was given: none is given twice.
ALTER TABLE organizations ADD COLUMN limits_numbered BIGINT NOT NULL DEFAULT 0;

-- measure: what is counted, a word of crates/quota. keys, models: 'all' of them together, 'each' by itself, or the identifier of the one. No foreign keys: a limit outlives what it
-- is for, and limits nothing from then on.
CREATE TABLE limits (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    number BIGINT NOT NULL CHECK (number > 0),
    measure {text} NOT NULL,
    keys {text} NOT NULL
        CHECK (keys IN ('all', 'each') OR substr(keys, 1, length('key_{region}_')) = 'key_{region}_'),
    models {text} NOT NULL
        CHECK (models IN ('all', 'each') OR substr(models, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    amount BIGINT NOT NULL CHECK (amount >= 0),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, number),
    UNIQUE (organization_id, measure, keys, models)
);
