//! Prices that the operator has agreed with organizations: for one model at one provider, wherever the organization has it deployed. What goes before them, and
//! what after, stands in [`crate::pricing`].

use bailiwick_domain::{
    id::OrganizationId, jurisdiction::Local, names::ModelName, permission::Permission, price::Price,
    provider::Provider,
};

use crate::{
    caller::Caller,
    control_plane::{ControlPlane, Mutation},
    error::UseCaseError,
    ports::store::StoreError,
    records::{Chain, ChangedResource, ContractPriceRecord, Page, PageOf, Revision},
};

/// What a change of a contract's price led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repriced {
    /// Deployments that it is for.
    pub deployments: usize,
    /// The revision at which workers know.
    pub revision: Revision,
}

impl ControlPlane {
    /// A page of an organization's contract prices, by provider and model.
    ///
    /// # Errors
    /// There is no such organization; the caller may not.
    pub async fn contract_price_list(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        page: &Page,
    ) -> Result<PageOf<ContractPriceRecord>, UseCaseError> {
        self.organization_permit(caller, Permission::PriceRead, organization).await?;
        Ok(self.store().contract_price_list(organization, page).await?)
    }

    /// Sets, replaces or removes one, and tells workers of the deployments that it is for. The audit record says what it is for, and the price.
    ///
    /// # Errors
    /// There is no such organization, or no price to be removed; the caller may not.
    pub async fn contract_price_set(
        &self,
        caller: &Caller,
        organization: Local<OrganizationId>,
        (provider, upstream_model): (Provider, ModelName),
        price: Option<Price>,
    ) -> Result<Repriced, UseCaseError> {
        let permit = self.organization_permit(caller, Permission::PriceWrite, organization).await?;
        let chain = Chain::Organization(organization);
        let keys = self.keys(chain).await?;
        let mut transaction = self.store().begin().await?;
        let affected = transaction.deployments_of_model(organization, provider, &upstream_model).await?;
        let mut subject = format!("{organization} {provider} {upstream_model}");
        let action = match price {
            Some(price) => {
                subject.push_str(&amounts(&price));
                let set_at = self.now();
                let row = ContractPriceRecord { organization, provider, upstream_model, price, set_at };
                transaction.contract_price_set(&row).await?;
                "price.set"
            }
            None => {
                let removed = transaction.contract_price_remove(organization, provider, &upstream_model);
                removed.await.map_err(missing)?;
                "price.remove"
            }
        };
        let changes: Vec<_> = affected.iter().map(|id| ChangedResource::Deployment(*id)).collect();
        let mutation = Mutation { chain, action, subject, changes: &changes };
        let revision = self.commit(&permit, &keys, transaction, mutation).await?;
        Ok(Repriced { deployments: affected.len(), revision })
    }
}

/// In nano-dollars.
fn amounts(price: &Price) -> String {
    [
        ("input", Some(price.input)),
        ("output", Some(price.output)),
        ("cached_input", price.cached_input),
        ("cache_write", price.cache_write),
        ("image", price.image),
        ("audio_minute", price.audio_minute),
    ]
    .into_iter()
    .filter_map(|(name, amount)| Some(format!(" {name}={}", amount?.as_nanos())))
    .collect()
}

fn missing(error: StoreError) -> UseCaseError {
    match error {
        StoreError::NotFound => UseCaseError::NotFound { what: "the contract price" },
        other => other.into(),
    }
}
