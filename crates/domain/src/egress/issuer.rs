//! Proof that tokens may be had from a host.

use super::AdmittedHost;

/// Proof that the policy lets tokens be had from a host. Only [`super::EgressPolicy::admit_issuer`] makes one. It is no [`AdmittedHost`] by itself: nobody places a
/// call with it by mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedIssuer(AdmittedHost<'static>);

impl AdmittedIssuer {
    pub(super) fn of(host: AdmittedHost<'static>) -> Self {
        Self(host)
    }

    /// What is dialled, to ask for a token.
    pub fn host(&self) -> &AdmittedHost<'static> {
        &self.0
    }
}
