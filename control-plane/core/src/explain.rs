//! Why a call with a key would be served or refused: the steps of a worker, taken on the store's rows.

mod limits;

use bailiwick_domain::{
    address::ClientAddress, egress::EgressRefused, jurisdiction::Local, key::KeyId, names::ModelName,
    organization::OrganizationStatus, permission::Permission, routing::Fallbacks,
};

use crate::{
    caller::Caller,
    control_plane::ControlPlane,
    error::UseCaseError,
    records::{ApiKeyRecord, ModelDeployment, ModelRecord, OrganizationRecord},
};

/// One step of a worker's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `authenticate`, `permit`, `place`, `limits`.
    pub name: &'static str,
    /// What was found, for people.
    pub finding: String,
    /// The error that a caller would see; `None` when passed.
    pub code: Option<&'static str>,
}

impl Step {
    fn passed(name: &'static str, finding: impl Into<String>) -> Self {
        Self { name, finding: finding.into(), code: None }
    }

    fn failed(name: &'static str, code: &'static str, finding: impl Into<String>) -> Self {
        Self { name, finding: finding.into(), code: Some(code) }
    }
}

impl ControlPlane {
    /// The steps up to the first that fails. A key that does not exist is a finding, not an error.
    ///
    /// # Errors
    /// The caller may not.
    pub async fn explain_key(
        &self,
        caller: &Caller,
        id: Local<KeyId>,
        model: Option<&ModelName>,
        from: Option<ClientAddress>,
    ) -> Result<Vec<Step>, UseCaseError> {
        let asking = caller.asks(Permission::KeyRead)?;
        let found = self.store().key_fetch(id).await?;
        // Somebody else's is as good as none.
        let Some(row) = found.filter(|row| asking.within(row.organization, "the key").is_ok()) else {
            return Ok(vec![Step::failed(
                "authenticate",
                "invalid_api_key",
                "no such key was ever made in this region",
            )]);
        };
        let mut steps = vec![self.explain_authenticate(&row, from).await?];
        if steps.iter().any(|step| step.code.is_some()) {
            return Ok(steps);
        }
        let Some(name) = model else {
            steps.extend(self.explain_limits(&row, None).await?);
            return Ok(steps);
        };
        // Like a worker: that the organization has no such model is said before that the key may not use it.
        let Some(found) = self.store().model_fetch_by_name(row.organization, name).await? else {
            let finding = format!("{} has no model named {name}", row.organization);
            steps.push(Step::failed("permit", "model_not_found", finding));
            return Ok(steps);
        };
        let permit = explain_permit(&row, name);
        let permitted = permit.code.is_none();
        steps.push(permit);
        if permitted {
            let limits = self.explain_limits(&row, Some(&found)).await?;
            let place = self.explain_places(found).await?;
            let placed = place.code.is_none();
            steps.push(place);
            steps.extend(limits.filter(|_| placed));
        }
        Ok(steps)
    }

    async fn explain_authenticate(
        &self,
        row: &ApiKeyRecord,
        from: Option<ClientAddress>,
    ) -> Result<Step, UseCaseError> {
        let step = "authenticate";
        if row.revoked_at.is_some() {
            return Ok(Step::failed(step, "invalid_api_key", "the key was revoked"));
        }
        if row.expires_at.is_some_and(|at| at <= self.now()) {
            return Ok(Step::failed(step, "invalid_api_key", "the key has expired"));
        }
        let found = self.store().organization_fetch(row.organization).await?;
        let alive = found.filter(|organization| organization.status != OrganizationStatus::Deleted);
        let Some(organization) = alive else {
            let finding = format!("{} is deleted", row.organization);
            return Ok(Step::failed(step, "invalid_api_key", finding));
        };
        if organization.status == OrganizationStatus::Suspended {
            let finding = format!("{} is suspended", row.organization);
            return Ok(Step::failed(step, "organization_suspended", finding));
        }
        Ok(explain_address(row, &organization, from))
    }

    /// A model without a place is answered by its fallback, if that has one.
    async fn explain_places(&self, mut model: ModelRecord) -> Result<Step, UseCaseError> {
        let first = self.explain_place(&model).await?;
        let mut findings = vec![first.finding.clone()];
        let mut last = first.clone();
        for _ in 0..Fallbacks::LONGEST_CHAIN {
            let (Some("no_deployment_available"), Some(name)) = (last.code, &model.fallbacks.general) else {
                break;
            };
            let Some(found) = self.store().model_fetch_by_name(model.organization, name).await? else {
                break;
            };
            last = self.explain_place(&found).await?;
            findings.push(format!("It falls back to {name}: {}", last.finding));
            model = found;
        }
        let code = if last.code.is_none() { None } else { first.code };
        Ok(Step { finding: findings.join(". "), code, ..first })
    }

    async fn explain_place(&self, model: &ModelRecord) -> Result<Step, UseCaseError> {
        let (step, all) = ("place", model.deployments.len());
        let residency = self.store().organization_fetch(model.organization).await?;
        let residency = residency.map(|organization| organization.residency).unwrap_or_default();
        let (mut placed, mut admitted, mut refused) = (0_usize, 0_usize, Vec::new());
        for ModelDeployment { deployment: id, .. } in &model.deployments {
            let Some(row) = self.store().deployment_fetch(*id).await? else { continue };
            let judged = self.judge_endpoint(&residency, &row.endpoint, &row.upstream_model);
            // A worker places by the name of the host, and learns at the dial what its address is.
            placed += usize::from(matches!(judged, Ok(()) | Err(EgressRefused::Address(_))));
            match judged {
                Ok(()) => admitted += 1,
                Err(why) => refused.push(format!("{id} at {}: {why}; {}", row.endpoint.host(), why.hint())),
            }
        }
        let refused = refused.join(". ");
        let none = format!(
            "under the residency `{}`, none of its {all} deployments may serve it. {refused}",
            residency.word()
        );
        Ok(match (placed, admitted) {
            (0, _) => Step::failed(step, "no_deployment_available", none),
            (_, 0) => Step::failed(step, "egress_refused", none),
            _ if refused.is_empty() => {
                Step::passed(step, format!("{admitted} of its {all} deployments may serve it"))
            }
            _ => Step::passed(step, format!("{admitted} of its {all} deployments may serve it. {refused}")),
        })
    }
}

/// The last part of the step: from where calls are taken.
fn explain_address(
    row: &ApiKeyRecord,
    organization: &OrganizationRecord,
    from: Option<ClientAddress>,
) -> Step {
    let mut finding = format!("the key is active and of {}", row.organization);
    let both = [("the organization", &organization.allowed_ranges), ("the key", &row.allowed_ranges)];
    let narrowed = both.iter().filter(|(_, ranges)| !ranges.is_anywhere());
    for (whose, ranges) in narrowed.clone() {
        finding += &format!("; calls of {whose} are taken from {ranges} alone");
    }
    let Some(from) = from else { return Step::passed("authenticate", finding) };
    match narrowed.into_iter().find(|(_, ranges)| !ranges.admits(from)) {
        None => Step::passed("authenticate", format!("{finding}; {from} is allowed")),
        Some((whose, _)) => {
            let finding = format!("{finding}; {from} is not among what {whose} allows");
            Step::failed("authenticate", "address_not_allowed", finding)
        }
    }
}

fn explain_permit(row: &ApiKeyRecord, name: &ModelName) -> Step {
    if row.allowed_models.is_empty() {
        return Step::passed("permit", "the key may use every model of its organization");
    }
    if row.allowed_models.contains(name) {
        return Step::passed("permit", format!("the key may use {name}"));
    }
    Step::failed(
        "permit",
        "model_not_allowed",
        format!("{name} is not among the models that the key may use"),
    )
}
