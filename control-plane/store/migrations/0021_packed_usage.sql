-- Single calls, packed: what they are found by stands in columns, what they cost in one value of a fixed length, whose layout is told in `src/usage/record.rs`. They come by the ten
-- thousand a second, and each column of theirs costs a hundred instructions or more, while nobody asks for one of them by what it cost.

-- Those of before have another form. They go, and with them the sums that must agree with them.
DROP TABLE usage_events;
DELETE FROM usage_hourly;

-- An event is known by its organization's name and its own: no organization's usage can take the place of another's. No foreign keys: what a call refers to may be deleted before its
-- usage arrives. The grave accent is what follows the low line, so that between the two stands what begins with both words, without a function's call for each row.
CREATE TABLE usage_events (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL
        CHECK (organization_id >= 'org_{region}_' AND organization_id < 'org_{region}`'),
    event_id {blob} NOT NULL CHECK (length(event_id) = 16),
    record {blob} NOT NULL CHECK (length(record) = 168),
    PRIMARY KEY (organization_id, event_id)
);
