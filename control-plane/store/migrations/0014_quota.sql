-- What is lent of limits, and to whom. Counts are units of the limit's measure. No foreign keys to limits: whoever lends may write a moment after a limit is gone, and what is left then is
-- removed when the next one takes office.

-- One row: the number of who is in office. Whoever writes below holds it.
CREATE TABLE quota_term (
    region {text} NOT NULL PRIMARY KEY DEFAULT '{region}' CHECK (region = '{region}'),
    term BIGINT NOT NULL
);

-- Names that were given to lives of workers. worker: whose, by its name in certificates. lost: nothing more is lent to it.
CREATE TABLE quota_holders (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    holder BIGINT NOT NULL PRIMARY KEY,
    worker {text} NOT NULL,
    lost BIGINT NOT NULL
);

-- What was used of an account by holders that are gone, in the window that starts so. key_id, model_id: '' where the limit is not by key or model.
CREATE TABLE quota_accounts (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    number BIGINT NOT NULL,
    key_id {text} NOT NULL CHECK (key_id = '' OR substr(key_id, 1, length('key_{region}_')) = 'key_{region}_'),
    model_id {text} NOT NULL
        CHECK (model_id = '' OR substr(model_id, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
    window_starts BIGINT NOT NULL,
    gone BIGINT NOT NULL,
    PRIMARY KEY (organization_id, number, key_id, model_id)
);

-- What a holder was lent of an account.
CREATE TABLE quota_leases (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (substr(organization_id, 1, length('org_{region}_')) = 'org_{region}_'),
    number BIGINT NOT NULL,
    key_id {text} NOT NULL CHECK (key_id = '' OR substr(key_id, 1, length('key_{region}_')) = 'key_{region}_'),
    model_id {text} NOT NULL
        CHECK (model_id = '' OR substr(model_id, 1, length('mdl_{region}_')) = 'mdl_{region}_'),
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
    PRIMARY KEY (organization_id, number, key_id, model_id, holder)
);
