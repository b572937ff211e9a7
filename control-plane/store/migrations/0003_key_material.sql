-- Which master key wraps each data key, and the rotations of both.

-- Empty: wrapped before master keys had names, which no process accepts.
ALTER TABLE data_keys ADD COLUMN master {text} NOT NULL DEFAULT '';
CREATE INDEX data_keys_by_master ON data_keys (master);

-- scope: that of the data keys that are rotated; NULL: the master key is. finished_at: NULL while it is under way.
CREATE TABLE rotations (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    id {text} NOT NULL PRIMARY KEY CHECK (substr(id, 1, length('rot_{region}_')) = 'rot_{region}_'),
    scope {text}
        CHECK (scope IS NULL OR scope = 'region' OR substr(scope, 1, length('org_{region}_')) = 'org_{region}_'),
    target {text} NOT NULL,
    total BIGINT NOT NULL,
    done BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX rotations_under_way ON rotations (id) WHERE finished_at IS NULL;
