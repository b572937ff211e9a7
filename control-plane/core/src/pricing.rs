//! What a call to a deployment costs: the deployment's own price, else what the operator has agreed with its organization, else the operator's for the whole region,
//! else the catalogue's.

use bailiwick_domain::{catalogue::PriceCatalogue, price::Price};

use crate::{control_plane::Settings, records::DeploymentRecord};

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// Set on the deployment.
    Deployment,
    /// Agreed between the operator and the organization.
    Contract,
    /// The operator's override for the region.
    Operator,
    /// Public list price.
    Catalogue,
}

impl PriceSource {
    /// The word that the admin API has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Contract => "contract",
            Self::Operator => "operator",
            Self::Catalogue => "catalogue",
        }
    }
}

/// `None`: nobody knows; calls are metered as unpriced, never as free.
pub fn price_of(settings: &Settings, deployment: &DeploymentRecord) -> Option<(Price, PriceSource)> {
    let (provider, model) = (deployment.provider, deployment.upstream_model.as_str());
    let own = deployment.price.map(|price| (price, PriceSource::Deployment));
    let contract = || deployment.contract_price.map(|price| (price, PriceSource::Contract));
    let operator =
        || settings.prices.get(&(provider, model.to_owned())).map(|price| (*price, PriceSource::Operator));
    let catalogue = || {
        let mut names = provider.listed_as().iter();
        let entry = names.find_map(|name| PriceCatalogue::builtin().lookup(name, model))?;
        Some((entry.price, PriceSource::Catalogue))
    };
    own.or_else(contract).or_else(operator).or_else(catalogue)
}

#[cfg(test)]
mod tests;
