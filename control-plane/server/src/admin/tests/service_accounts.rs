//! Service accounts, as operators and as programs of an organization meet them.

use bailiwick_proto::{
    admin::v1::{self as wire, service_account_service_client::ServiceAccountServiceClient},
    status::reason_of,
};
use tonic::{Code, Request, Status, transport::Channel};

use super::world::{World, fresh, service_account};

/// A caller with a bearer token.
struct Program {
    token: String,
    channel: Channel,
}

impl Program {
    async fn new(world: &World, secret: &str) -> Self {
        Self { token: world.token(secret).await, channel: world.visitor() }
    }

    fn asks<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value = format!("Bearer {}", self.token).parse().expect("a header's value");
        request.metadata_mut().insert("authorization", value);
        request
    }

    async fn create(&self, organization: &str, role: &str) -> Result<wire::ServiceAccount, Status> {
        let message = self.asks(service_account(organization, role));
        let made =
            ServiceAccountServiceClient::new(self.channel.clone()).create_service_account(message).await?;
        Ok(made.into_inner().service_account.unwrap_or_default())
    }

    async fn rotate(&self, id: &str) -> Result<wire::RotateServiceAccountSecretResponse, Status> {
        let message = wire::RotateServiceAccountSecretRequest { id: id.to_owned(), idempotency_key: fresh() };
        let mut client = ServiceAccountServiceClient::new(self.channel.clone());
        Ok(client.rotate_service_account_secret(self.asks(message)).await?.into_inner())
    }

    async fn revoke(&self, id: &str) -> Result<wire::ServiceAccount, Status> {
        let message = wire::RevokeServiceAccountRequest { id: id.to_owned() };
        let mut client = ServiceAccountServiceClient::new(self.channel.clone());
        let revoked = client.revoke_service_account(self.asks(message)).await?;
        Ok(revoked.into_inner().service_account.unwrap_or_default())
    }

    /// Whether its token lets it in.
    async fn is_served(&self, organization: &str) -> bool {
        let message = wire::GetOrganizationRequest { id: organization.to_owned() };
        let mut client =
            wire::organization_service_client::OrganizationServiceClient::new(self.channel.clone());
        match client.get_organization(self.asks(message)).await {
            Ok(_) => true,
            Err(refused) => {
                assert_eq!(reason_of(&refused).as_deref(), Some("invalid_token"), "{refused}");
                false
            }
        }
    }
}

fn client(world: &World) -> ServiceAccountServiceClient<Channel> {
    ServiceAccountServiceClient::new(world.operator())
}

#[tokio::test]
async fn a_secret_is_shown_once_and_a_retry_gives_the_account_without_it() {
    let world = World::new().await;
    let organization = world.organization().await;
    let new = service_account(&organization, "admin");
    let first = client(&world).create_service_account(new.clone()).await.expect("created").into_inner();
    assert!(first.service_account_secret.starts_with("bwsvc_euc1_"));
    let again = client(&world).create_service_account(new).await.expect("found").into_inner();
    assert_eq!(again.service_account, first.service_account);
    assert_eq!(again.service_account_secret, "");
    let account = first.service_account.expect("told");
    assert_eq!((account.role.as_str(), account.name.as_str()), ("admin", "program"));

    let list = wire::ListServiceAccountsRequest { organization_id: organization.clone(), page: None };
    let listed = client(&world).list_service_accounts(list).await.expect("listed").into_inner();
    assert_eq!(listed.service_accounts, std::slice::from_ref(&account));
    let records = world.records(&organization).await;
    let record = records.last().expect("recorded");
    assert_eq!((record.action.as_str(), &record.subject), ("service_account.create", &account.id));
    assert_eq!(record.actor, "spiffe://eu-central-1.test/operator/alice");
}

#[tokio::test]
async fn nobody_makes_or_takes_over_an_account_that_is_stronger_than_their_own() {
    let world = World::new().await;
    let organization = world.organization().await;
    let (owner, _) = world.account(&organization, "owner").await;
    let (_, secret) = world.account(&organization, "admin").await;
    let admin = Program::new(&world, &secret).await;
    for refused in [
        admin.create(&organization, "owner").await.err(),
        admin.rotate(&owner).await.err(),
        admin.revoke(&owner).await.err(),
    ] {
        let refused = refused.expect("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert_eq!(reason_of(&refused).as_deref(), Some("stronger_role"), "{refused}");
    }
    for role in ["admin", "viewer", "member"] {
        assert_eq!(admin.create(&organization, role).await.expect("created").role, role);
    }
}

#[tokio::test]
async fn whoever_reads_gets_nothing_that_writes() {
    let world = World::new().await;
    let organization = world.organization().await;
    for role in ["viewer", "member"] {
        let (own, secret) = world.account(&organization, role).await;
        let program = Program::new(&world, &secret).await;
        for refused in [
            program.create(&organization, "member").await.err(),
            program.rotate(&own).await.err(),
            program.revoke(&own).await.err(),
        ] {
            assert_eq!(refused.expect("refused").code(), Code::PermissionDenied, "{role}");
        }
        let key = super::world::key(&organization);
        let mut keys = wire::key_service_client::KeyServiceClient::new(world.visitor());
        let refused = keys.create_key(program.asks(key)).await.expect_err("refused");
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
    }
}

#[tokio::test]
async fn r12_a_revoked_account_is_refused_at_once_and_so_is_every_token_of_it() {
    let world = World::new().await;
    let organization = world.organization().await;
    let (id, secret) = world.account(&organization, "owner").await;
    let program = Program::new(&world, &secret).await;
    assert!(program.is_served(&organization).await);
    let revoke = wire::RevokeServiceAccountRequest { id };
    let revoked = client(&world).revoke_service_account(revoke.clone()).await.expect("revoked").into_inner();
    assert!(!program.is_served(&organization).await, "its token still lets it in");
    assert!(world.try_token(&secret).await.is_err(), "its secret still gives a token");
    let again = client(&world).revoke_service_account(revoke).await.expect("stays").into_inner();
    assert_eq!(again, revoked, "the first time stays");
}

#[tokio::test]
async fn r12_a_new_secret_ends_the_old_one_and_what_was_obtained_with_it() {
    let world = World::new().await;
    let organization = world.organization().await;
    let (id, secret) = world.account(&organization, "admin").await;
    let program = Program::new(&world, &secret).await;
    let rotated = program.rotate(&id).await.expect("its own").service_account_secret;
    assert_ne!(rotated, secret);
    assert!(!program.is_served(&organization).await, "the old secret's token still lets it in");
    assert!(world.try_token(&secret).await.is_err(), "the old secret still gives a token");
    assert!(Program::new(&world, &rotated).await.is_served(&organization).await);

    let key = fresh();
    let message = wire::RotateServiceAccountSecretRequest { id: id.clone(), idempotency_key: key };
    let first = client(&world).rotate_service_account_secret(message.clone()).await.expect("rotated");
    let again = client(&world).rotate_service_account_secret(message).await.expect("found");
    assert_eq!(again.into_inner().service_account_secret, "", "a retry rotates nothing");
    let secret = first.into_inner().service_account_secret;
    world.token(&secret).await;

    client(&world)
        .revoke_service_account(wire::RevokeServiceAccountRequest { id: id.clone() })
        .await
        .expect("revoked");
    let message = wire::RotateServiceAccountSecretRequest { id, idempotency_key: fresh() };
    let refused = client(&world).rotate_service_account_secret(message).await.expect_err("revoked");
    assert_eq!(reason_of(&refused).as_deref(), Some("service_account_revoked"));
}

#[tokio::test]
async fn a_deleted_organizations_accounts_end_with_it() {
    let world = World::new().await;
    let organization = world.organization().await;
    let (_, secret) = world.account(&organization, "owner").await;
    let program = Program::new(&world, &secret).await;
    let delete = wire::DeleteOrganizationRequest { id: organization.clone() };
    world.organizations().delete_organization(delete).await.expect("deleted");
    assert!(!program.is_served(&organization).await);
    let refused = world.try_token(&secret).await.expect_err("its secret still gives a token");
    assert_eq!(reason_of(&refused).as_deref(), Some("invalid_service_account"));
}

#[tokio::test]
async fn r11_whoever_calls_with_a_token_is_recorded_as_the_account_whatever_a_header_says() {
    let world = World::new().await;
    let organization = world.organization().await;
    let (id, secret) = world.account(&organization, "admin").await;
    let program = Program::new(&world, &secret).await;
    let mut request = program.asks(service_account(&organization, "viewer"));
    for header in ["x-actor", "x-user", "x-forwarded-user", "x-bailiwick-actor", "x-forwarded-client-cert"] {
        request
            .metadata_mut()
            .insert(header, "spiffe://eu-central-1.test/operator/alice".parse().expect("a value"));
    }
    let mut accounts = ServiceAccountServiceClient::new(world.visitor());
    accounts.create_service_account(request).await.expect("created");
    let records = world.records(&organization).await;
    let actors: Vec<_> =
        records.iter().map(|record| (record.action.as_str(), record.actor.as_str())).collect();
    assert_eq!(actors.last(), Some(&("service_account.create", id.as_str())));
    assert!(actors.contains(&("token.issue", id.as_str())), "{actors:?}");
    assert!(world.intact(&organization).await);
}
