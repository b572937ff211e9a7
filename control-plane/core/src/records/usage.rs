//! Usage: what becomes of a batch, and what the roll-ups are asked.

use bailiwick_domain::{
    id::{ModelId, OrganizationId},
    jurisdiction::Local,
    key::KeyId,
    time::Timestamp,
};

use super::Page;

/// What became of a batch of usage events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageInserted {
    /// How many were new.
    pub inserted: u32,
    /// Indices of events whose organization does not exist here.
    pub unknown_organization: Vec<usize>,
}

/// A question to the hourly roll-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageQuery {
    /// Whose usage.
    pub organization: Local<OrganizationId>,
    /// From the start of this hour.
    pub from: Timestamp,
    /// Before this time.
    pub to: Timestamp,
    /// One row per key.
    pub by_key: bool,
    /// One row per model.
    pub by_model: bool,
    /// One row per hour.
    pub by_hour: bool,
    /// Page of the answer.
    pub page: Page,
}

/// One row of the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageRow {
    /// Set when grouped by key.
    pub key: Option<Local<KeyId>>,
    /// Set when grouped by model.
    pub model: Option<Local<ModelId>>,
    /// Start of the hour; set when grouped by hour.
    pub hour: Option<Timestamp>,
    /// Calls.
    pub calls: u64,
    /// Calls that did not complete with a status below 400.
    pub failed_calls: u64,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Completion tokens.
    pub completion_tokens: u64,
    /// Part of the prompt tokens: read from a provider's cache.
    pub cached_prompt_tokens: u64,
    /// Part of the prompt tokens: written into a provider's cache.
    pub cache_write_tokens: u64,
    /// Part of the completion tokens.
    pub reasoning_tokens: u64,
    /// Generated images.
    pub images: u64,
    /// Audio, in milliseconds.
    pub audio_millis: u64,
    /// Cost in nano-dollars.
    pub cost_nanos_usd: i64,
    /// Calls without a price; the cost has nothing for them.
    pub unpriced_calls: u64,
    /// Calls whose numbers are estimates.
    pub estimated_calls: u64,
}
