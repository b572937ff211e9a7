//! Deployments that nobody knows a price for: their calls are counted, and cost nobody anything.

use bailiwick_proto::admin::v1::ListDeploymentsRequest;

use super::advice;
use crate::{
    checklist::Checklist,
    commands::organization,
    connection::{Connection, EVERYTHING, pages, request},
    failure::Failure,
};

const CHECK: &str = "prices of deployments";
const HINT: &str = "bailiwick price set, or [prices] in the control plane's configuration; 0 is a price";
/// Organizations that are asked: a check shall not take minutes.
const MOST_ORGANIZATIONS: usize = 1000;
/// Deployments that are named.
const NAMED: usize = 5;

pub(super) async fn check(connection: &Connection, list: &mut Checklist<'_>) {
    match unpriced(connection).await {
        Ok((0, asked, _)) => {
            list.check(CHECK, Ok(format!("all known, of {asked} organizations")));
        }
        Ok((count, _, named)) => {
            let more = if count > named.len() { ", …" } else { "" };
            list.warn(CHECK, format!("{count} without a price: {}{more}", named.join(", ")), HINT);
        }
        Err(failure) => {
            list.check(CHECK, Err(advice(failure)));
        }
    }
}

/// How many there are, how many organizations were asked, and the first of the deployments.
async fn unpriced(connection: &Connection) -> Result<(usize, usize, Vec<String>), Failure> {
    let organizations = organization::list(connection).await?;
    let asked: Vec<_> = organizations.into_iter().take(MOST_ORGANIZATIONS).collect();
    let (client, mut count, mut named) = (connection.models(), 0, Vec::new());
    for organization in &asked {
        let deployments = pages(EVERYTHING, async |page| {
            let message =
                ListDeploymentsRequest { organization_id: organization.id.clone(), page: Some(page) };
            let answer = client.clone().list_deployments(request(message)).await?.into_inner();
            Ok((answer.deployments, answer.page))
        })
        .await;
        // One that was deleted meanwhile has none.
        for deployment in deployments.unwrap_or_default() {
            if deployment.price_source.is_empty() {
                count += 1;
                if named.len() < NAMED {
                    named.push(format!("{} ({})", deployment.id, deployment.upstream_model));
                }
            }
        }
    }
    Ok((count, asked.len(), named))
}
