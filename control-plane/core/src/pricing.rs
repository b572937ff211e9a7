//! What a call to a deployment costs: the deployment's own price, else the operator's, else the catalogue's.

use bailiwick_domain::{catalogue::PriceCatalogue, price::Price};

use crate::{control_plane::Settings, records::DeploymentRecord};

/// Where a price comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// Set on the deployment.
    Deployment,
    /// The operator's override.
    Operator,
    /// Public list price.
    Catalogue,
}

impl PriceSource {
    /// The word that the admin API has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Operator => "operator",
            Self::Catalogue => "catalogue",
        }
    }
}

/// `None`: nobody knows; calls are metered as unpriced, never as free.
pub fn price_of(settings: &Settings, deployment: &DeploymentRecord) -> Option<(Price, PriceSource)> {
    let (provider, model) = (deployment.provider, deployment.upstream_model.as_str());
    let own = deployment.price.map(|price| (price, PriceSource::Deployment));
    let operator =
        || settings.prices.get(&(provider, model.to_owned())).map(|price| (*price, PriceSource::Operator));
    let catalogue = || {
        let mut names = provider.listed_as().iter();
        let entry = names.find_map(|name| PriceCatalogue::builtin().lookup(name, model))?;
        Some((entry.price, PriceSource::Catalogue))
    };
    own.or_else(operator).or_else(catalogue)
}

#[cfg(test)]
mod tests;
