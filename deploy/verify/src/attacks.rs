//! The attacks, a file for each or for a family of them. A new one is added to [`all`].

mod admin_callers;
mod backups;
mod configuration;
mod egress;
mod foreign_control_plane;
mod identifiers;
mod join_tokens;
mod keys;
mod sealed_values;
mod signup;
mod spoofing;
mod stores;
mod telemetry;
mod tokens;
mod usage;
mod worker_callers;

use crate::attack::Attack;

/// Every attack, by number.
pub(crate) fn all() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(keys::Keys),
        Box::new(identifiers::Identifiers),
        Box::new(admin_callers::AdminCallers),
        Box::new(worker_callers::WorkerCallers),
        Box::new(foreign_control_plane::ForeignControlPlane),
        Box::new(join_tokens::JoinTokens),
        Box::new(usage::Usage),
        Box::new(configuration::Configuration),
        Box::new(signup::Signup),
        Box::new(spoofing::Spoofing),
        Box::new(stores::Stores),
        Box::new(sealed_values::SealedValues),
        Box::new(backups::Backups),
        Box::new(egress::Egress),
        Box::new(telemetry::Telemetry),
        Box::new(tokens::Tokens),
    ]
}

/// Layers, as reports name them: what has to refuse.
mod layer {
    pub(super) const ROUTER: &str = "router: admission, from the head alone";
    pub(super) const ROUTER_SIGNUP: &str = "router: region of a signup";
    pub(super) const WORKER_REGION: &str = "worker: region of the key";
    pub(super) const WORKER_KEY: &str = "worker: the key's digest";
    pub(super) const WORKER_TLS: &str = "worker: mutual TLS";
    pub(super) const ADMIN_TLS: &str = "admin API: mutual TLS";
    pub(super) const ADMIN_EDGE: &str = "admin API: jurisdiction";
    pub(super) const PROCESS_TLS: &str = "worker API: mutual TLS";
    pub(super) const PROCESS_EDGE: &str = "worker API: jurisdiction";
    pub(super) const INTAKE: &str = "worker API: usage intake";
    pub(super) const ENROLLMENT: &str = "enrollment: jurisdiction";
    pub(super) const WORKER_CONNECTOR: &str = "worker: the control plane's certificate";
    pub(super) const WORKER_APPLY: &str = "worker: jurisdiction over configuration";
    pub(super) const WORKER_DIAL: &str = "worker: egress policy, on the address that is dialled";
    pub(super) const BACKUP: &str = "restore: whose the backup says it is";
    pub(super) const EGRESS: &str = "admin API: egress policy";
    pub(super) const WORKER_EGRESS: &str = "worker: the address that is dialled";
    pub(super) const WORKER_REDIRECT: &str = "worker: redirects are not followed";
    pub(super) const CONFIGURATION: &str = "configuration: whose law holds at the collector";
    pub(super) const TELEMETRY: &str = "telemetry: the address that is dialled";
    pub(super) const STORE_IDENTITY: &str = "store: whose it says it is";
    pub(super) const VAULT: &str = "vault: master key, place of every value";
    pub(super) const ENROLLMENT_TOKEN: &str = "enrollment: the token itself";
    pub(super) const TOKENS: &str = "token API: the token's signature, claims and account";
    pub(super) const TOKEN_EDGE: &str = "token API: jurisdiction";
    pub(super) const TOKEN_SECRET: &str = "token API: the secret's digest";
    pub(super) const TOKEN_ORGANIZATION: &str = "admin API: organization of the caller";
}

#[cfg(test)]
mod tests;
