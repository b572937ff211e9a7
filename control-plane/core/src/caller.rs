//! Who asks. A [`Permit`] is the proof that a caller may; every mutation wants one, so none can forget to ask.
//!
//! A caller either acts in the whole region (the holder of a certificate) or in one organization (a service account). There are two ways to a permit, and
//! each use case takes the one of its scope: [`Caller::permit_region`], which nobody of an organization passes, and [`Caller::asks`], whose [`Asking`]
//! becomes a permit only [`Asking::within`] an organization. So nothing of another organization can be read or changed by forgetting a
//! comparison: without the organization there is no permit.

use std::fmt;

use bailiwick_domain::{
    guard::Guard,
    id::OrganizationId,
    jurisdiction::Local,
    key::ServiceAccountId,
    organization::OrganizationRole,
    permission::{self, Permission, Role},
    spiffe::SpiffeId,
};

use crate::{error::UseCaseError, records::Chain};

/// A caller whose certificate or bearer token was verified.
#[derive(Clone, Debug)]
pub struct Caller(Actor);

/// Somebody of one organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    account: Local<ServiceAccountId>,
    organization: Local<OrganizationId>,
    role: OrganizationRole,
}

impl Principal {
    /// Whom a verified bearer token names: as the account is now, not as the token says that it was.
    pub(crate) fn new(
        account: Local<ServiceAccountId>,
        organization: Local<OrganizationId>,
        role: OrganizationRole,
    ) -> Self {
        Self { account, organization, role }
    }
}

/// Whom audit records name.
#[derive(Clone, Debug)]
pub enum Actor {
    /// The holder of a certificate.
    Process(SpiffeId),
    /// A service account.
    Principal(Principal),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(spiffe) => spiffe.fmt(f),
            Self::Principal(principal) => principal.account.get().fmt(f),
        }
    }
}

impl Caller {
    /// The caller behind a verified certificate.
    pub fn new(spiffe: SpiffeId) -> Self {
        Self(Actor::Process(spiffe))
    }

    /// The caller behind a verified bearer token.
    pub(crate) fn of_organization(principal: Principal) -> Self {
        Self(Actor::Principal(principal))
    }

    /// Who it is.
    pub fn actor(&self) -> &Actor {
        &self.0
    }

    /// What the table of permissions knows it as.
    pub fn role(&self) -> Role {
        match &self.0 {
            Actor::Process(spiffe) => Role::Process(spiffe.role),
            Actor::Principal(principal) => Role::Organization(principal.role),
        }
    }

    /// Permission for what concerns the whole region.
    ///
    /// # Errors
    /// [`UseCaseError::Denied`] for everything that the table does not allow, and for everybody of an organization.
    pub fn permit_region(&self, permission: Permission) -> Result<Permit, UseCaseError> {
        let asking = self.asks(permission)?;
        match self.0 {
            Actor::Process(_) => Ok(Permit { asking, organization: None }),
            Actor::Principal(_) => Err(UseCaseError::Denied { role: self.role(), permission }),
        }
    }

    /// Asks the table of roles and permissions, before anything is looked up: whoever may not hears so, whatever there is.
    ///
    /// # Errors
    /// [`UseCaseError::Denied`] for everything that the table does not allow.
    pub fn asks(&self, permission: Permission) -> Result<Asking, UseCaseError> {
        let role = self.role();
        if permission::allows(role, permission) {
            Ok(Asking { actor: self.0.clone(), permission })
        } else {
            Err(UseCaseError::Denied { role, permission })
        }
    }
}

/// A caller who may do something, where it may act at all.
#[derive(Clone, Debug)]
pub struct Asking {
    actor: Actor,
    permission: Permission,
}

impl Asking {
    /// Permission for what belongs to one organization.
    ///
    /// # Errors
    /// [`UseCaseError::NotFound`] for an organization that is not the caller's: as for one that does not exist. `what` is what was asked for.
    pub fn within(
        &self,
        organization: Local<OrganizationId>,
        what: &'static str,
    ) -> Result<Permit, UseCaseError> {
        match &self.actor {
            Actor::Principal(principal)
                if principal.organization != organization && Guard::TokenOrganization.stands() =>
            {
                Err(UseCaseError::NotFound { what })
            }
            _ => Ok(Permit { asking: self.clone(), organization: Some(organization) }),
        }
    }
}

/// Proof that a caller may do something, and where. Only [`Caller::permit_region`] and [`Asking::within`] make one.
#[derive(Clone, Debug)]
pub struct Permit {
    asking: Asking,
    /// `None`: in the region.
    organization: Option<Local<OrganizationId>>,
}

impl Permit {
    /// Who was permitted.
    pub fn actor(&self) -> &Actor {
        &self.asking.actor
    }

    /// What was permitted.
    pub fn permission(&self) -> Permission {
        self.asking.permission
    }

    /// The same caller and permission, to ask for another thing by its identifier.
    pub(crate) fn asking(&self) -> &Asking {
        &self.asking
    }

    /// Whether a mutation that is recorded in this chain may be made with it: a second look, where every mutation ends.
    pub(crate) fn covers(&self, chain: Chain) -> bool {
        match (self.organization, chain) {
            (None, _) => true,
            (Some(own), Chain::Organization(other)) => own == other,
            (Some(_), Chain::Region) => false,
        }
    }

    /// Refuses to hand out, or to touch, what is stronger than the caller within its organization. Who acts for the region is above all of them.
    pub(crate) fn covers_role(&self, role: OrganizationRole) -> Result<(), UseCaseError> {
        match &self.asking.actor {
            Actor::Principal(principal) if !principal.role.covers(role) => {
                let message = format!("the role {} is stronger than yours, {}", role, principal.role);
                Err(UseCaseError::Forbidden { reason: "stronger_role", message })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
