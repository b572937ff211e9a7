//! Signing up: an organization and its first key, for someone who has no account yet. Routers ask for it.

use bailiwick_domain::{
    address::AllowedRanges,
    id::OrganizationId,
    jurisdiction::Local,
    names::{DisplayName, EmailAddress},
    organization::OnStale,
    permission::Permission,
    region::RegionName,
};

use crate::{
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    idempotency::IdempotencyKey,
    key::{Created, NewKey},
    organization::{self, NewOrganization},
};

const FIRST_KEY: &str = "First key";

impl ControlPlane {
    /// Creates an organization and its first key. Another region than this is refused before anything is counted.
    ///
    /// # Errors
    /// Another region was named; signing up is closed, or too many did within the minute; the caller may not.
    pub async fn sign_up(
        &self,
        caller: &Caller,
        region: RegionName,
        name: DisplayName,
        email: EmailAddress,
        idempotency_key: IdempotencyKey,
    ) -> Result<(Local<OrganizationId>, Created), UseCaseError> {
        let permit = caller.permit_region(Permission::SignUp)?;
        self.check_region(&permit, &region).await?;
        self.count_signup()?;
        // Whoever signs up, through whichever router: two people who choose the same idempotency key are not one.
        let claim = self.claim(organization::CREATE, format!("sign-up/{}", email.as_str()), &idempotency_key);
        let new = NewOrganization {
            idempotency_key: idempotency_key.clone(),
            region,
            name,
            contact_email: Some(email),
            on_stale: OnStale::default(),
        };
        let (organization, _) = self.organization_create_permitted(&permit, &claim, new).await?;
        let first = FIRST_KEY.parse().map_err(|error| UseCaseError::Internal(Box::new(error)))?;
        let created = self
            .key_create_permitted(
                &permit,
                NewKey {
                    idempotency_key,
                    organization: organization.id,
                    name: first,
                    allowed_models: Vec::new(),
                    allowed_ranges: AllowedRanges::default(),
                    expires_at: None,
                },
            )
            .await?;
        Ok((organization.id, created))
    }
}
