use bailiwick_proto::config::v1::{self as config, Resource, resource::Kind};

use super::super::tests::{Tenant, applied, gone, here, put, resource};
use super::*;

fn settings(rules: &[(&str, &str)]) -> Resource {
    let rules = rules.iter().map(|(pattern, jurisdiction)| config::EgressRule {
        pattern: (*pattern).into(),
        jurisdiction: (*jurisdiction).into(),
        private_ranges: Vec::new(),
    });
    resource(Kind::RegionSettings(config::RegionSettings {
        region_code: "euc1".into(),
        pepper: vec![7; 32],
        egress_rules: rules.collect(),
        jurisdiction: "eu".into(),
        ..config::RegionSettings::default()
    }))
}

fn organization(tenant: &Tenant, listed: &[&str]) -> Resource {
    let mode = if listed.is_empty() { config::ResidencyMode::Region } else { config::ResidencyMode::Listed };
    let hosts = listed.iter().map(ToString::to_string).collect();
    resource(Kind::Organization(config::Organization {
        id: tenant.organization.to_string(),
        residency: Some(config::Residency { mode: mode.into(), hosts }),
        ..config::Organization::default()
    }))
}

/// A tenant with a deployment in the EU and one in the US, and the settings that name both.
fn world() -> (Tenant, [DeploymentId; 2], Snapshot) {
    let tenant = Tenant::new(&here());
    let ids: [DeploymentId; 2] = std::array::from_fn(|_| {
        use bailiwick_domain::time::{Clock as _, SystemClock};
        here().mint_random(SystemClock.now()).into_inner()
    });
    let [eu, us] = ids;
    let (snapshot, refused) = applied(
        &Snapshot::default(),
        vec![
            // Deployments come before what they are judged by.
            put(&tenant.deployment(eu, "https://eu.api.openai.com/v1")),
            put(&tenant.deployment(us, "https://us.api.openai.com/v1")),
            put(&organization(&tenant, &[])),
            put(&settings(&[("eu.api.openai.com", "eu"), ("us.api.openai.com", "us")])),
        ],
    );
    assert_eq!(refused, [], "what may not be called is held all the same");
    (tenant, ids, snapshot)
}

/// Whether each of the two may be called; what is counted agrees.
fn admitted(snapshot: &Snapshot, ids: [DeploymentId; 2]) -> [bool; 2] {
    let admitted = ids.map(|id| snapshot.admit(snapshot.deployment(&id).unwrap()).is_ok());
    let refused = admitted.iter().filter(|admitted| !**admitted).count();
    assert_eq!(snapshot.egress_refused_held(), refused as u64);
    admitted
}

#[test]
fn r7_a_deployment_in_another_jurisdiction_is_held_and_not_called() {
    let (_, ids, snapshot) = world();
    assert_eq!(admitted(&snapshot, ids), [true, false]);
}

#[test]
fn r7_a_change_of_residency_takes_effect_with_its_delta() {
    let (tenant, ids, snapshot) = world();
    let (listed, _) = applied(&snapshot, vec![put(&organization(&tenant, &["us.api.openai.com"]))]);
    assert_eq!(admitted(&listed, ids), [false, true]);
    let (region, _) = applied(&listed, vec![put(&organization(&tenant, &[]))]);
    assert_eq!(admitted(&region, ids), [true, false]);
    // Of an organization that is not known, the strictest holds.
    let (unknown, _) = applied(&listed, vec![gone(&organization(&tenant, &[]))]);
    assert_eq!(ids.map(|id| unknown.admit(unknown.deployment(&id).unwrap()).is_ok()), [true, false]);
}

#[test]
fn r7_a_change_of_the_policy_takes_effect_with_its_delta() {
    let (_, ids, snapshot) = world();
    let (moved, _) = applied(
        &snapshot,
        vec![put(&settings(&[("eu.api.openai.com", "global"), ("us.api.openai.com", "eu")]))],
    );
    assert_eq!(admitted(&moved, ids), [false, true]);
    let (closed, _) = applied(&moved, vec![put(&settings(&[]))]);
    assert_eq!(admitted(&closed, ids), [false, false]);
}

#[test]
fn a_deployment_that_is_gone_is_not_counted() {
    let (tenant, [_, us], snapshot) = world();
    let (left, _) = applied(&snapshot, vec![gone(&tenant.deployment(us, "https://us.api.openai.com/v1"))]);
    assert_eq!(left.egress_refused_held(), 0);
}

#[test]
fn r7_settings_of_another_jurisdiction_are_refused_and_the_last_good_ones_kept() {
    let (_, ids, snapshot) = world();
    for jurisdiction in ["us", "global", ""] {
        let mut elsewhere = settings(&[("eu.api.openai.com", jurisdiction), ("us.api.openai.com", "us")]);
        if let Some(Kind::RegionSettings(settings)) = &mut elsewhere.kind {
            settings.jurisdiction = jurisdiction.into();
        }
        let (held, refused) = applied(&snapshot, vec![put(&elsewhere)]);
        assert_eq!(refused.len(), 1, "{jurisdiction}");
        assert_eq!(admitted(&held, ids), [true, false], "{jurisdiction}");
    }
}
