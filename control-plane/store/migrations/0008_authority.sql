-- The change of the certificate authority from one root to another. stage: 'settled', 'distributing' (a second root is trusted) or 'issuing' (certificates are issued under the
-- second one). issuing_slot: which of the two places among region_secrets holds the root that issues, 1 or 2.
ALTER TABLE trust ADD COLUMN stage {text} NOT NULL DEFAULT 'settled';
ALTER TABLE trust ADD COLUMN issuing_slot BIGINT NOT NULL DEFAULT 1;

-- Until when each holder has a certificate of a root (SHA-256 of its DER, hexadecimal).
CREATE TABLE certificates (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    root {text} NOT NULL,
    role {text} NOT NULL,
    name {text} NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (root, role, name)
);
