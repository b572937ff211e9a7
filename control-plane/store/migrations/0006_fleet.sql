-- Whom the region's processes trust. One row: its lock orders the changes, and its version tells processes old from new.
CREATE TABLE trust (
    region {text} NOT NULL PRIMARY KEY DEFAULT '{region}' CHECK (region = '{region}'),
    version BIGINT NOT NULL
);
INSERT INTO trust (version) VALUES (0);

-- Certificates that are refused: those of this holder whose validity begins at or before `issued_until`. A row is of no use once
-- `expires_at` has passed: the last of them has ended by itself then.
CREATE TABLE revoked_certificates (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    role {text} NOT NULL,
    name {text} NOT NULL,
    issued_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (role, name)
);
