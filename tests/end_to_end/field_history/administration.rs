//! What an administrator's call can do beside what it says.

use bailiwick_proto::{
    admin::v1 as wire,
    raw::{self, methods},
};
use bailiwick_tests::{
    admin::{Admin, fresh},
    installation::Region,
};
use tonic::{Code, Request};

use super::{REGION, echoing};

/// Everything of one organization, and what was recorded of it.
async fn state(admin: &Admin, region: &Region) -> String {
    let organization_id = region.organization.clone();
    let organizations = wire::ListOrganizationsRequest::default();
    let keys = wire::ListKeysRequest { organization_id: organization_id.clone(), page: None };
    let models = wire::ListModelsRequest { organization_id: organization_id.clone(), page: None };
    let deployments = wire::ListDeploymentsRequest { organization_id: organization_id.clone(), page: None };
    let credentials = wire::ListCredentialsRequest { organization_id: organization_id.clone(), page: None };
    let records = wire::ListAuditRecordsRequest { organization_id, page: None };
    let revision =
        admin.region().get_region(wire::GetRegionRequest {}).await.expect("region").into_inner().revision;
    format!(
        "{revision} {:?} {:?} {:?} {:?} {:?} {:?}",
        admin.organizations().list_organizations(organizations).await.expect("organizations").into_inner(),
        admin.keys().list_keys(keys).await.expect("keys").into_inner(),
        admin.models().list_models(models).await.expect("models").into_inner(),
        admin.models().list_deployments(deployments).await.expect("deployments").into_inner(),
        admin.credentials().list_credentials(credentials).await.expect("credentials").into_inner(),
        admin.audit().list_audit_records(records).await.expect("records").into_inner(),
    )
}

async fn last_record(admin: &Admin, region: &Region) -> wire::AuditRecord {
    let request = wire::ListAuditRecordsRequest { organization_id: region.organization.clone(), page: None };
    let records = admin.audit().list_audit_records(request).await.expect("records").into_inner().records;
    records.into_iter().next_back().expect("a record")
}

fn new_key(region: &Region, name: &str) -> wire::CreateKeyRequest {
    wire::CreateKeyRequest {
        idempotency_key: fresh(),
        organization_id: region.organization.clone(),
        name: name.to_owned(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_cannot_say_who_made_a_change() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    admin.keys().create_key(new_key(region, "plain")).await.expect("a key");
    let actor = last_record(&admin, region).await.actor;
    assert!(actor.starts_with(&format!("spiffe://{REGION}.")) && actor.contains("/operator/"), "{actor}");
    let mut request = Request::new(new_key(region, "spoofed"));
    for name in [
        "x-actor",
        "actor",
        "x-changed-by",
        "litellm-changed-by",
        "x-user",
        "x-user-id",
        "x-forwarded-user",
        "x-remote-user",
        "x-on-behalf-of",
        "x-impersonate",
        "impersonate-user",
        "from",
        "x-auth-request-email",
        "x-forwarded-client-cert",
        "x-spiffe-id",
        "user-agent",
        "x-caller",
    ] {
        request
            .metadata_mut()
            .insert(name, "spiffe://eu-central-1.local/operator/mallory".parse().expect("a value"));
    }
    admin.keys().create_key(request).await.expect("a key");
    let record = last_record(&admin, region).await;
    assert_eq!((record.action.as_str(), record.actor.as_str()), ("key.create", actor.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_made_whole_or_refused_whole() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let foreign = installation.region("us-west-1").organization.clone();
    let listed = wire::ListModelsRequest { organization_id: region.organization.clone(), page: None };
    let model = admin.models().list_models(listed).await.expect("models").into_inner().models.remove(0);
    let deployment = model.deployment_ids[0].clone();
    let absent = format!("dep_euc1_{}", "0".repeat(26));
    let listed = wire::ListCredentialsRequest { organization_id: region.organization.clone(), page: None };
    let credential = admin
        .credentials()
        .list_credentials(listed)
        .await
        .expect("credentials")
        .into_inner()
        .credentials
        .remove(0)
        .id;
    let (key, _) = admin.new_key(&region.organization).await;
    let new_deployment = |endpoint: &str, credential: &str| wire::CreateDeploymentRequest {
        idempotency_key: fresh(),
        organization_id: region.organization.clone(),
        provider: "openai_compatible".to_owned(),
        endpoint: endpoint.to_owned(),
        upstream_model: "simulated".to_owned(),
        credential_id: credential.to_owned(),
        api_version: String::new(),
        price: None,
    };
    let new_model = |name: &str, deployment_ids: Vec<String>| wire::CreateModelRequest {
        idempotency_key: fresh(),
        organization_id: region.organization.clone(),
        name: name.to_owned(),
        deployment_ids,
        ..Default::default()
    };
    let before = state(&admin, region).await;
    let many = vec!["model".to_owned(); 101];
    let deployments = [
        vec![deployment.clone(), absent.clone()],
        vec![absent.clone(), deployment.clone()],
        vec![],
        vec![deployment.clone(), foreign.clone()],
    ];
    // Good in part: each is refused for something that is found late, or beside something good.
    for bad in [
        admin
            .keys()
            .create_key(wire::CreateKeyRequest { allowed_models: many, ..new_key(region, "good") })
            .await
            .err(),
        admin
            .keys()
            .create_key(wire::CreateKeyRequest { expires_at_micros: -1, ..new_key(region, "good") })
            .await
            .err(),
        admin.keys().create_key(new_key(region, "a\u{7}bell")).await.err(),
        admin
            .keys()
            .rotate_key(wire::RotateKeyRequest {
                id: key.clone(),
                overlap_seconds: u32::MAX,
                idempotency_key: fresh(),
            })
            .await
            .err(),
        admin
            .keys()
            .rotate_key(wire::RotateKeyRequest {
                id: key.clone(),
                overlap_seconds: 5,
                idempotency_key: String::new(),
            })
            .await
            .err(),
        admin
            .credentials()
            .replace_credential(wire::ReplaceCredentialRequest {
                id: credential.clone(),
                secret: "two\nlines".to_owned(),
            })
            .await
            .err(),
        admin
            .credentials()
            .delete_credential(wire::DeleteCredentialRequest { id: credential.clone() })
            .await
            .err(),
        admin
            .models()
            .delete_deployment(wire::DeleteDeploymentRequest { id: deployment.clone() })
            .await
            .err(),
        admin.models().create_deployment(new_deployment("http://203.0.113.1/v1", &credential)).await.err(),
        admin
            .models()
            .create_deployment(new_deployment(
                &installation.provider,
                &format!("cred_euc1_{}", "0".repeat(26)),
            ))
            .await
            .err(),
        admin.models().create_model(new_model(&model.name, vec![deployment.clone()])).await.err(),
    ] {
        let refused = bad.expect("refused");
        assert!(!matches!(refused.code(), Code::Internal | Code::Unknown | Code::Unavailable), "{refused:?}");
        assert_eq!(state(&admin, region).await, before, "refused with {refused:?}, and done all the same");
    }
    for (number, deployment_ids) in deployments.into_iter().enumerate() {
        let update = wire::UpdateModelRequest {
            id: model.id.clone(),
            deployment_ids: deployment_ids.clone(),
            ..Default::default()
        };
        admin.models().update_model(update).await.expect_err("refused");
        admin
            .models()
            .create_model(new_model(&format!("new-{number}"), deployment_ids))
            .await
            .expect_err("refused");
        assert_eq!(state(&admin, region).await, before);
    }
    // And what was answered with success is there.
    admin.keys().create_key(new_key(region, "good")).await.expect("a key");
    assert_ne!(state(&admin, region).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_text_of_a_request_is_a_part_of_a_statement() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let before = state(&admin, region).await;
    for text in ["'; DROP TABLE api_keys; --", "' OR '1'='1", "x') ; DELETE FROM organizations; --"] {
        for method in methods(|service| service.starts_with("bailiwick.admin.v1.")).expect("descriptors") {
            let message = raw::message(method.fields.iter().map(|field| (field, text.to_owned())));
            // Refused, or a list that has nothing to do with it.
            if let Err(refused) = raw::call(admin.channel(), &method.path, message).await {
                assert!(
                    !matches!(refused.code(), Code::Internal | Code::Unknown | Code::Unavailable),
                    "{}: {refused:?}",
                    method.path
                );
            }
        }
        // With good identifiers, it gets as far as text can get.
        let page = Some(wire::PageRequest { page_size: 10, page_token: text.to_owned() });
        let listed = wire::ListKeysRequest { organization_id: region.organization.clone(), page };
        if let Err(refused) = admin.keys().list_keys(listed).await {
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        }
    }
    assert_eq!(state(&admin, region).await, before);
    let quoted = "Robert'); DROP TABLE organizations;--";
    let made =
        admin.keys().create_key(new_key(region, quoted)).await.expect("a name like another").into_inner();
    assert_eq!(made.key.expect("a key").name, quoted);
    assert!(state(&admin, region).await.contains("DROP TABLE organizations"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_not_grow_when_it_is_renewed() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let now =
        admin.region().get_region(wire::GetRegionRequest {}).await.expect("region").into_inner().now_micros;
    let expires_at_micros = now + 3_600_000_000;
    let narrow = wire::CreateKeyRequest {
        allowed_models: vec!["echo".to_owned()],
        expires_at_micros,
        ..new_key(region, "narrow")
    };
    let old = admin.keys().create_key(narrow.clone()).await.expect("a key").into_inner();
    // Asked for again with more, under the same idempotency key: what there is, and no secret.
    let wider = wire::CreateKeyRequest { allowed_models: Vec::new(), expires_at_micros: 0, ..narrow };
    let again = admin.keys().create_key(wider).await.expect("the same").into_inner();
    assert_eq!((again.key.as_ref(), again.api_key.as_str()), (old.key.as_ref(), ""));
    let id = old.key.expect("a key").id;
    let rotate =
        wire::RotateKeyRequest { id: id.clone(), overlap_seconds: 2_592_000, idempotency_key: fresh() };
    let renewed = admin.keys().rotate_key(rotate.clone()).await.expect("renewed").into_inner();
    let (new, old) = (renewed.key.expect("new"), renewed.old_key.expect("old"));
    assert_eq!(
        (new.allowed_models.as_slice(), new.expires_at_micros),
        (&["echo".to_owned()][..], expires_at_micros)
    );
    assert!(old.expires_at_micros <= expires_at_micros, "the overlap does not outlive the key");
    let again = admin.keys().rotate_key(rotate).await.expect("the same").into_inner();
    assert_eq!((again.key.expect("new").id, again.api_key.as_str()), (new.id, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_receives_no_key() {
    let (installation, admin) = echoing(&[]).await;
    let region = installation.region(REGION);
    let made =
        admin.keys().create_key(new_key(region, "seen once")).await.expect("a key").into_inner().api_key;
    let secrets = [&made[25..57], &region.api_key[25..57], super::CREDENTIAL];
    let reads = methods(|service| service.starts_with("bailiwick.admin.v1.")).expect("descriptors");
    let reads: Vec<_> = reads
        .into_iter()
        .filter(|method| {
            ["Get", "List", "Query", "Explain", "Verify"].iter().any(|verb| method.name.starts_with(verb))
        })
        .collect();
    assert!(reads.len() >= 10, "{}", reads.len());
    let mut answered = 0;
    for method in reads {
        let texts = method.fields.iter().filter(|field| field.name.ends_with("id"));
        let message = raw::message(texts.map(|field| (field, region.organization.clone())));
        let Ok(answer) = raw::call(admin.channel(), &method.path, message).await else { continue };
        answered += 1;
        for secret in secrets {
            assert!(
                !answer.windows(8).any(|window| secret.as_bytes().windows(8).any(|part| part == window)),
                "{}",
                method.path
            );
        }
    }
    assert!(answered >= 8, "{answered}");
}
