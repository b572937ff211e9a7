-- Where an organization's calls may be processed. residency: 'region' or 'listed'; residency_hosts: the listed host patterns with spaces between them,
-- which no pattern contains.
ALTER TABLE organizations ADD COLUMN residency {text} NOT NULL DEFAULT 'region';
ALTER TABLE organizations ADD COLUMN residency_hosts {text} NOT NULL DEFAULT '';
