//! Models: how their calls are spread, and which models stand in for them.

use bailiwick_proto::{
    admin::v1 as wire,
    config::v1::Rank,
    status::{reason_of, violations_of},
};
use tonic::{Code, Status};

use super::world::{World, deployment, key, model};

struct Tenant {
    world: World,
    organization: String,
    deployments: Vec<String>,
}

impl Tenant {
    async fn new() -> Self {
        let world = World::new().await;
        let organization = world.organization().await;
        let credential = world.credential(&organization).await;
        let mut deployments = Vec::new();
        for _ in 0..2 {
            let made = world.models().create_deployment(deployment(&organization, &credential)).await;
            deployments.push(made.expect("created").into_inner().deployment.expect("told").id);
        }
        Self { world, organization, deployments }
    }

    async fn create(
        &self,
        name: &str,
        more: impl FnOnce(&mut wire::CreateModelRequest),
    ) -> Result<wire::Model, Status> {
        let mut new = model(&self.organization, name, "");
        new.deployment_ids.clone_from(&self.deployments);
        more(&mut new);
        Ok(self.world.models().create_model(new).await?.into_inner().model.expect("told"))
    }

    async fn update(&self, change: wire::UpdateModelRequest) -> Result<wire::Model, Status> {
        Ok(self.world.models().update_model(change).await?.into_inner().model.expect("told"))
    }
}

fn orders(model: &wire::Model) -> Vec<(Option<u32>, Option<u32>)> {
    model.ranks.iter().map(|rank| (rank.order, rank.weight)).collect()
}

fn fields(refused: &Status) -> Vec<String> {
    violations_of(refused).into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn a_plain_list_is_one_of_preference_until_something_is_said_of_it() {
    let tenant = Tenant::new().await;
    let made = tenant.create("plain", |_| {}).await.expect("created");
    assert_eq!(
        (made.strategy.as_str(), orders(&made)),
        ("weighted", vec![(Some(0), Some(1)), (Some(1), Some(1))])
    );
    let change = wire::UpdateModelRequest {
        id: made.id.clone(),
        strategy: "least_in_flight".into(),
        ..wire::UpdateModelRequest::default()
    };
    let changed = tenant.update(change).await.expect("updated");
    assert_eq!(changed.deployment_ids, made.deployment_ids);
    assert_eq!(orders(&changed), [(Some(0), Some(1)); 2], "there is something to choose from");

    let weighted = tenant
        .create("weighted", |new| {
            new.ranks = vec![Rank { order: None, weight: Some(9) }, Rank { order: Some(2), weight: None }];
        })
        .await
        .expect("created");
    assert_eq!(orders(&weighted), [(Some(0), Some(9)), (Some(2), Some(1))]);
    let mut client = tenant.world.models();
    let organization_id = tenant.organization.clone();
    let listed = client.list_models(wire::ListModelsRequest { organization_id, page: None });
    let mut models = listed.await.expect("listed").into_inner().models;
    models.sort_by(|one, other| one.name.cmp(&other.name));
    assert_eq!(models, [changed, weighted]);
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_field() {
    let tenant = Tenant::new().await;
    let bad = tenant.create("bad", |new| new.ranks = vec![Rank { order: Some(1001), weight: None }; 2]).await;
    assert_eq!(fields(&bad.expect_err("an order")), ["ranks[0]"]);
    let bad = tenant.create("bad", |new| new.ranks = vec![Rank::default()]).await;
    assert_eq!(fields(&bad.expect_err("one for two")), ["ranks"]);
    let bad = tenant
        .create("bad", |new| {
            new.strategy = "random".into();
            new.fallback_model = "b a d".into();
            new.content_policy_fallback_model = "ä".into();
        })
        .await;
    let expected = ["strategy", "fallback_model", "content_policy_fallback_model"];
    assert_eq!(fields(&bad.expect_err("words")), expected);
    let bad = tenant.create("bad", |new| new.context_window_fallback_model = "absent".into()).await;
    assert_eq!(fields(&bad.expect_err("absent")), ["context_window_fallback_model"]);
    let made = tenant.create("good", |_| {}).await.expect("created");
    let nothing = wire::UpdateModelRequest { id: made.id, ..wire::UpdateModelRequest::default() };
    assert_eq!(fields(&tenant.update(nothing).await.expect_err("nothing")), ["deployment_ids"]);
}

#[tokio::test]
async fn models_stand_behind_each_other_in_no_circle_and_not_too_many() {
    let tenant = Tenant::new().await;
    let refusal = |refused: Result<wire::Model, Status>| {
        let refused = refused.expect_err("a circle");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        reason_of(&refused)
    };
    let looped = Some("fallback_loop".to_owned());
    let own = tenant.create("itself", |new| new.fallback_model = "itself".into()).await;
    assert_eq!(refusal(own), looped);

    let last = tenant.create("a", |_| {}).await.expect("created");
    for (name, behind) in [("b", "a"), ("c", "b"), ("d", "c")] {
        tenant.create(name, |new| new.fallback_model = behind.into()).await.expect("created");
    }
    let fourth = tenant.create("e", |new| new.context_window_fallback_model = "d".into()).await;
    assert_eq!(refusal(fourth), looped);
    // Whichever fallback leads back.
    for field in 0..3 {
        let mut change =
            wire::UpdateModelRequest { id: last.id.clone(), ..wire::UpdateModelRequest::default() };
        let behind = Some("c".to_owned());
        match field {
            0 => change.fallback_model = behind,
            1 => change.context_window_fallback_model = behind,
            _ => change.content_policy_fallback_model = behind,
        }
        assert_eq!(refusal(tenant.update(change).await), looped);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_changes_at_once_close_no_circle_that_neither_would_close_alone() {
    let tenant = Tenant::new().await;
    let one = tenant.create("one", |_| {}).await.expect("created").id;
    let other = tenant.create("other", |_| {}).await.expect("created").id;
    let change = |id: &str, behind: &str| wire::UpdateModelRequest {
        id: id.to_owned(),
        fallback_model: Some(behind.to_owned()),
        ..wire::UpdateModelRequest::default()
    };
    for round in 0..20 {
        let both = tokio::join!(tenant.update(change(&one, "other")), tenant.update(change(&other, "one")));
        let refused = match both {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(reason_of(&refused).as_deref(), Some("fallback_loop"));
        for id in [&one, &other] {
            tenant.update(change(id, "")).await.expect("nothing stands behind it");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_not_deleted_while_another_change_puts_it_behind_one() {
    let tenant = Tenant::new().await;
    let front = tenant.create("front", |_| {}).await.expect("created").id;
    for round in 0..20 {
        let behind = tenant.create("behind", |_| {}).await.expect("created").id;
        let change = |behind: &str| wire::UpdateModelRequest {
            id: front.clone(),
            fallback_model: Some(behind.to_owned()),
            ..wire::UpdateModelRequest::default()
        };
        let mut models = tenant.world.models();
        let delete = models.delete_model(wire::DeleteModelRequest { id: behind.clone() });
        let (changed, deleted) = tokio::join!(tenant.update(change("behind")), delete);
        assert!(changed.is_ok() != deleted.is_ok(), "round {round}: {changed:?} {deleted:?}");
        tenant.update(change("")).await.expect("nothing stands behind it");
        if deleted.is_err() {
            let request = wire::DeleteModelRequest { id: behind };
            tenant.world.models().delete_model(request).await.expect("deleted");
        }
    }
}

#[tokio::test]
async fn a_model_that_others_fall_back_to_stays_until_they_do_not() {
    let tenant = Tenant::new().await;
    let behind = tenant.create("behind", |_| {}).await.expect("created");
    let front = tenant.create("front", |new| new.content_policy_fallback_model = "behind".into()).await;
    let delete =
        async || tenant.world.models().delete_model(wire::DeleteModelRequest { id: behind.id.clone() }).await;
    let refused = delete().await.expect_err("in use");
    assert_eq!(reason_of(&refused).as_deref(), Some("model_in_use"));
    assert!(refused.message().contains("front"), "{}", refused.message());
    let change = wire::UpdateModelRequest {
        id: front.expect("created").id,
        content_policy_fallback_model: Some(String::new()),
        ..wire::UpdateModelRequest::default()
    };
    assert_eq!(tenant.update(change).await.expect("updated").content_policy_fallback_model, "");
    delete().await.expect("deleted");
}

#[tokio::test]
async fn another_organizations_model_is_no_fallback() {
    let tenant = Tenant::new().await;
    tenant.create("theirs", |_| {}).await.expect("created");
    let other = tenant.world.organization().await;
    let credential = tenant.world.credential(&other).await;
    let made = tenant.world.models().create_deployment(deployment(&other, &credential)).await;
    let own = made.expect("created").into_inner().deployment.expect("told").id;
    let new = wire::CreateModelRequest { fallback_model: "theirs".into(), ..model(&other, "ours", &own) };
    let refused = tenant.world.models().create_model(new).await.expect_err("not theirs");
    assert_eq!(fields(&refused), ["fallback_model"]);
}

#[tokio::test]
async fn an_explanation_follows_the_fallback_like_a_worker() {
    let tenant = Tenant::new().await;
    let Tenant { world, organization, deployments } = &tenant;
    let made = world.keys().create_key(key(organization)).await.expect("created").into_inner();
    let id = made.key.expect("told").id;
    tenant.create("behind", |new| new.deployment_ids = vec![deployments[0].clone()]).await.expect("created");
    let front = |new: &mut wire::CreateModelRequest| new.fallback_model = "behind".into();
    tenant.create("front", front).await.expect("created");
    let explain = wire::ExplainKeyRequest { id, model: "front".into(), ..Default::default() };
    let explained = world.keys().explain_key(explain).await.expect("explained").into_inner();
    assert!(explained.served, "{explained:?}");
}
