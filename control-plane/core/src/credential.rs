//! Provider credentials. A secret goes in and comes out only towards workers.

use bailiwick_domain::{
    id::CredentialId,
    id::OrganizationId,
    jurisdiction::Local,
    names::DisplayName,
    permission::Permission,
    provider::Endpoint,
    provider_secret::{self, ProviderSecretError},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    caller::{Asking, Caller, Permit},
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    idempotency::{Claimed, IdempotencyKey},
    ports::{store::StoreError, vault::SealContext},
    records::{Chain, ChangedResource, CredentialRecord, Page, PageOf, Revision},
    sealing::Keys,
};

const CREATE: &str = "credential.create";

/// A credential, its name opened; without its secret.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The row.
    pub row: CredentialRecord,
    /// Display name.
    pub name: String,
}

/// A provider's secret as it is written, which has one of the forms of [`provider_secret`].
#[derive(Clone, Debug)]
pub struct ProviderSecret {
    text: SecretString,
    /// Whom it is exchanged for tokens with, if it is.
    issuer: Option<Endpoint>,
}

impl ProviderSecret {
    /// Checks the form.
    ///
    /// # Errors
    /// It has none.
    pub fn new(text: &str) -> Result<Self, ProviderSecretError> {
        let parsed = provider_secret::ProviderSecret::parse(text)?;
        Ok(Self { text: SecretString::from(text), issuer: parsed.issuer().cloned() })
    }
}

impl ControlPlane {
    /// Creates a credential.
    ///
    /// # Errors
    /// There is no such organization; its tokens would be had where the region's egress policy admits none to be had (R7); the caller may not.
    pub async fn credential_create(
        &self,
        caller: &Caller,
        idempotency_key: IdempotencyKey,
        organization: Local<OrganizationId>,
        name: DisplayName,
        secret: ProviderSecret,
    ) -> Result<(Credential, Revision), UseCaseError> {
        let permit = self.organization_permit(caller, Permission::CredentialWrite, organization).await?;
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let claim = self.claim(CREATE, organization, &idempotency_key);
        if let Some(id) = self.claimed_before(&claim).await? {
            return self.credential_made_before(&permit, id, &keys).await;
        }
        self.check_issuer_of(&secret)?;
        let now = self.now();
        let id: Local<CredentialId> = self.parts.jurisdiction.mint_random(now);
        let text = id.to_string();
        let row = CredentialRecord {
            id,
            organization,
            name: keys.seal(place("name", &text), name.as_str().as_bytes())?,
            secret: keys.seal(place("secret", &text), secret.text.expose_secret().as_bytes())?,
            version: 1,
            created_at: now,
            replaced_at: None,
        };
        let mut transaction = match self.begin_claimed(&claim, &id, now).await? {
            Claimed::First(transaction) => transaction,
            Claimed::Before(id) => return self.credential_made_before(&permit, id, &keys).await,
        };
        transaction.credential_insert(&row).await?;
        let changes = [ChangedResource::Credential(id)];
        let mutation = Mutation { chain, action: CREATE, subject: text, changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok((opened(&row, &keys), revision))
    }

    async fn credential_made_before(
        &self,
        permit: &Permit,
        id: Local<CredentialId>,
        keys: &Keys,
    ) -> Result<(Credential, Revision), UseCaseError> {
        let (_, row) = self.credential_row(permit.asking(), id).await?;
        Ok((opened(&row, keys), self.store().revision().await?))
    }

    /// A page of an organization's credentials.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn credential_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<Credential>, UseCaseError> {
        self.organization_permit(caller, Permission::CredentialRead, organization).await?;
        let keys = self.keys(Chain::Organization(organization)).await?;
        let found = self.store().credential_list(organization, page).await?;
        Ok(PageOf { rows: found.rows.iter().map(|row| opened(row, &keys)).collect(), next: found.next })
    }

    /// Gives a credential a new secret; what uses it changes over without a failed call.
    ///
    /// # Errors
    /// There is no such credential; the egress policy does not admit whoever issues its tokens; the caller may not.
    pub async fn credential_replace(
        &self,
        caller: &Caller,
        id: Local<CredentialId>,
        secret: ProviderSecret,
    ) -> Result<(Credential, Revision), UseCaseError> {
        let (permit, row) = self.credential_row(&caller.asks(Permission::CredentialWrite)?, id).await?;
        self.check_issuer_of(&secret)?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let text = id.to_string();
        let sealed = keys.seal(place("secret", &text), secret.text.expose_secret().as_bytes())?;
        let mut transaction = self.store().begin().await?;
        transaction.credential_replace(id, &sealed, self.now()).await?;
        let changes = [ChangedResource::Credential(id)];
        let mutation = Mutation { chain, action: "credential.replace", subject: text, changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        let (_, row) = self.credential_row(permit.asking(), id).await?;
        Ok((opened(&row, &keys), revision))
    }

    /// Deletes a credential that no deployment uses.
    ///
    /// # Errors
    /// There is no such credential, or it is in use; the caller may not.
    pub async fn credential_delete(
        &self,
        caller: &Caller,
        id: Local<CredentialId>,
    ) -> Result<Revision, UseCaseError> {
        let (permit, row) = self.credential_row(&caller.asks(Permission::CredentialWrite)?, id).await?;
        let chain = Chain::Organization(row.organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        match transaction.credential_delete(id).await {
            Err(StoreError::Conflict(_)) => {
                drop(transaction);
                return Err(self.credential_in_use(id).await?);
            }
            deleted => deleted?,
        }
        let changes = [ChangedResource::Credential(id)];
        let mutation =
            Mutation { chain, action: "credential.delete", subject: id.to_string(), changes: &changes };
        Ok(self.commit(&permit, &keys, transaction, mutation).await?)
    }

    fn check_issuer_of(&self, secret: &ProviderSecret) -> Result<(), UseCaseError> {
        secret.issuer.as_ref().map_or(Ok(()), |issuer| self.check_issuer(issuer))
    }

    async fn credential_in_use(&self, id: Local<CredentialId>) -> Result<UseCaseError, UseCaseError> {
        let users = self.store().credential_users(id).await?;
        let users: Vec<String> = users.iter().map(ToString::to_string).collect();
        let message = format!("deployments use the credential; delete them first: {}", users.join(", "));
        Ok(UseCaseError::refused("credential_in_use", message))
    }

    /// The row of a credential whose organization is not deleted, and a permit in that.
    async fn credential_row(
        &self,
        asking: &Asking,
        id: Local<CredentialId>,
    ) -> Result<(Permit, CredentialRecord), UseCaseError> {
        let what = "the credential";
        let row = self.store().credential_fetch(id).await?.ok_or(UseCaseError::NotFound { what })?;
        Ok((self.owned(asking, row.organization, what).await?, row))
    }
}

fn place<'a>(column: &'static str, row: &'a str) -> SealContext<'a> {
    SealContext { table: "credentials", column, row }
}

fn opened(row: &CredentialRecord, keys: &Keys) -> Credential {
    let id = row.id.to_string();
    Credential { name: keys.open_text(place("name", &id), &row.name).unwrap_or_default(), row: row.clone() }
}
