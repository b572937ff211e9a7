-- Single calls, in blocks: an organization's events of one span of time in one row (`src/usage/block.rs`). They come by the ten thousand a second, and a row and an index entry of its own
-- cost each of them more than what it says.

-- `event_ids` and `records` hold as many events, in the order of their identifiers. Known by the last of them: what comes anew is mostly later than all that is there, so few blocks are looked at for
-- it. No foreign keys: what a call refers to may be deleted before its usage arrives.
CREATE TABLE usage_blocks (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (organization_id >= 'org_{region}_' AND organization_id < 'org_{region}`'),
    first_event_id {blob} NOT NULL CHECK (first_event_id = substr(event_ids, 1, 16)),
    last_event_id {blob} NOT NULL CHECK (last_event_id = substr(event_ids, length(event_ids) - 15, 16)),
    event_ids {blob} NOT NULL CHECK (length(event_ids) BETWEEN 16 AND 2048 AND length(event_ids) % 16 = 0),
    records {blob} NOT NULL CHECK (length(records) * 2 = length(event_ids) * 21),
    PRIMARY KEY (organization_id, last_event_id)
);

-- What is there becomes blocks of one event.
INSERT INTO usage_blocks (organization_id, first_event_id, last_event_id, event_ids, records)
SELECT organization_id, event_id, event_id, event_id, record FROM usage_events;

DROP TABLE usage_events;
