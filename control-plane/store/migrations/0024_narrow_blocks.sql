-- Records in as few bytes as they need: a usage event costs what its bytes cost. Constraints that name a table's columns cannot be changed everywhere, so the table is made anew.

-- form: 1: records of 168 bytes each, as stores of before wrote them; 2: `src/usage/record.rs`. What that can be is between 26 bytes an event and one subject of 48 for all, and 147 bytes an event and a
-- subject for each. The rest as before.
CREATE TABLE usage_blocks_anew (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (organization_id >= 'org_{region}_' AND organization_id < 'org_{region}`'),
    first_event_id {blob} NOT NULL CHECK (first_event_id = substr(event_ids, 1, 16)),
    last_event_id {blob} NOT NULL CHECK (last_event_id = substr(event_ids, length(event_ids) - 15, 16)),
    form BIGINT NOT NULL,
    event_ids {blob} NOT NULL CHECK (length(event_ids) BETWEEN 16 AND 2048 AND length(event_ids) % 16 = 0),
    records {blob} NOT NULL CHECK (
        (form = 1 AND length(records) * 2 = length(event_ids) * 21)
        OR (form = 2 AND length(records) BETWEEN 49 + length(event_ids) / 16 * 26 AND 1 + length(event_ids) / 16 * 195)
    ),
    PRIMARY KEY (organization_id, last_event_id)
);

INSERT INTO usage_blocks_anew (region, organization_id, first_event_id, last_event_id, form, event_ids, records)
SELECT region, organization_id, first_event_id, last_event_id, 1, event_ids, records FROM usage_blocks;

DROP TABLE usage_blocks;
ALTER TABLE usage_blocks_anew RENAME TO usage_blocks;
