-- What the operator has agreed with an organization for one model at one provider. Amounts in nano-dollars.
CREATE TABLE contract_prices (
    region {text} NOT NULL DEFAULT '{region}' CHECK (region = '{region}'),
    organization_id {text} NOT NULL REFERENCES organizations (id),
    provider {text} NOT NULL,
    upstream_model {text} NOT NULL,
    price_input BIGINT NOT NULL,
    price_output BIGINT NOT NULL,
    price_cached_input BIGINT,
    price_cache_write BIGINT,
    price_image BIGINT,
    price_audio_minute BIGINT,
    set_at BIGINT NOT NULL,
    PRIMARY KEY (organization_id, provider, upstream_model)
);
