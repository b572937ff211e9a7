-- From where calls are taken, of a whole organization and of one key: CIDR ranges with spaces between them, which no range contains; empty: from anywhere.
ALTER TABLE organizations ADD COLUMN allowed_ranges {text} NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN allowed_ranges {text} NOT NULL DEFAULT '';
