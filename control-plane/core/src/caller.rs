//! Who asks. A [`Permit`] is the proof that a caller may; every mutation wants one, so none can forget to ask.

use bailiwick_domain::{
    permission::{self, Permission},
    spiffe::SpiffeId,
};

use crate::error::UseCaseError;

/// A caller whose certificate was verified.
#[derive(Clone, Debug)]
pub struct Caller {
    spiffe: SpiffeId,
}

/// Proof that a caller may do something. Only [`Caller::permit`] makes one.
#[derive(Clone, Debug)]
pub struct Permit {
    actor: SpiffeId,
    permission: Permission,
}

impl Caller {
    /// The caller behind a verified certificate.
    pub fn new(spiffe: SpiffeId) -> Self {
        Self { spiffe }
    }

    /// Its verified name.
    pub fn spiffe(&self) -> &SpiffeId {
        &self.spiffe
    }

    /// Asks the table of roles and permissions.
    ///
    /// # Errors
    /// [`UseCaseError::Denied`] for everything that the table does not allow.
    pub fn permit(&self, permission: Permission) -> Result<Permit, UseCaseError> {
        if permission::allows(self.spiffe.role, permission) {
            Ok(Permit { actor: self.spiffe.clone(), permission })
        } else {
            Err(UseCaseError::Denied { role: self.spiffe.role, permission })
        }
    }
}

impl Permit {
    /// Who was permitted.
    pub fn actor(&self) -> &SpiffeId {
        &self.actor
    }

    /// What was permitted.
    pub fn permission(&self) -> Permission {
        self.permission
    }
}
