//! What happened to gateways of this kind, as a list of tests: each would have caught it here.
//!
//! | what happened | published as | test |
//! |---|---|---|
//! | a caller names the upstream's address, and the provider's key goes there | CVE-2024-6587 (GHSA-g26j-5385-hhw3) | [`callers`]`::a_caller_cannot_say_where_the_provider_is` |
//! | a template in a request is evaluated | GHSA-46cm-pfwv-cgf8 | [`callers`]`::what_a_caller_writes_is_never_evaluated` |
//! | a multipart boundary loops | CVE-2024-8984 (GHSA-fh2c-86xm-pm2x) | [`callers`]`::a_form_is_refused_without_being_read` |
//! | a route is authorized by the `Host` header | CVE-2026-49468 (GHSA-4xpc-pv4p-pm3w) | [`callers`]`::the_host_header_decides_nothing` |
//! | a whole `X-Forwarded-For` string is compared with an address | BerriAI/litellm#33324 | [`addresses`](super::addresses)`::a_trusted_hop_is_believed_about_the_address_that_it_saw`, [`callers`]`::a_forwarded_header_changes_nothing` |
//! | one tenant is served another's answer | vllm-project/semantic-router#2134, maximhq/bifrost#5769 | [`callers`]`::answers_of_one_tenant_never_reach_another` |
//! | SQL is built from a bearer token, also on the error path | CVE-2026-42208 | [`keys`]`::a_bearer_token_is_never_part_of_a_statement`, [`administration`]`::no_text_of_a_request_is_a_part_of_a_statement` |
//! | tokens are told apart by their first characters | CVE-2026-35030 (GHSA-jjhc-v7c2-5hh6) | [`keys`]`::keys_that_begin_alike_are_not_taken_for_each_other` |
//! | errors tell whether a user exists | etalab-ia/OpenGateLLM#963 | [`keys`]`::errors_do_not_tell_which_keys_exist`, [`keys`]`::signing_up_does_not_tell_who_has_an_account` |
//! | a member sets its own role | CVE-2026-47102 | [`keys`]`::an_api_key_administers_nothing` |
//! | a key's own scopes are set by who holds it | CVE-2026-47101 | [`keys`]`::an_api_key_administers_nothing`, [`administration`]`::a_key_does_not_grow_when_it_is_renewed` |
//! | a viewer receives a stronger key | BerriAI/litellm#6626, CVE-2026-12772 | [`administration`]`::who_looks_receives_no_key` |
//! | a header names the actor of an audit record | BerriAI/litellm-docs#1426 | [`administration`]`::a_header_cannot_say_who_made_a_change` |
//! | an update is committed, and then answered with an error | BerriAI/litellm#3031 | [`administration`]`::a_change_is_made_whole_or_refused_whole` |
//! | health, debug and metrics endpoints tell secrets, or ask for no authentication where they could | BerriAI/litellm#24530 | [`secrets`]`::operational_endpoints_know_no_secret` |
//! | a log masks five characters of a secret | BerriAI/litellm#5433 | [`secrets`]`::no_part_of_a_secret_is_written_anywhere` |
//! | one salt serves two purposes | BerriAI/litellm#3635 | `what_is_hashed_for_one_purpose_is_worth_nothing_for_another` (`crates/domain`), `r4_a_value_opens_in_exactly_the_place_where_it_was_sealed` (`control-plane/vault`) |

mod administration;
mod callers;
mod keys;
mod secrets;

use std::time::Duration;

use bailiwick_domain::spiffe::ProcessRole;
use bailiwick_runtime::identity::Connector;
use bailiwick_tests::{
    admin::{Admin, operator},
    installation::{Installation, Region},
};
use reqwest::Response;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const REGION: &str = "eu-central-1";
/// A provider's secret that is easy to recognise, in whole and in parts.
const CREDENTIAL: &str = "sk-q9Zr4TfWm2XvB7LkJ8sYcD5hN3pG6aQe";

/// An installation whose organization has a model `echo`, and an operator of it.
async fn echoing(environment: &[(&str, &str)]) -> (Installation, Admin) {
    let installation = Installation::start_with(environment);
    let region = installation.region(REGION);
    let admin = Admin::of(REGION, region);
    let credential = admin.new_credential(&region.organization, CREDENTIAL).await;
    let provider = &installation.provider;
    let revision =
        admin.new_model(&region.organization, "echo", provider, "simulated-echo", &credential).await;
    admin.applied(revision).await;
    (installation, admin)
}

/// Everything that an answer says, but for what names the request and the moment.
async fn told(response: Response) -> String {
    let changing = ["x-request-id", "x-bailiwick-request-id", "date"];
    let mut head = format!("{}\n", response.status());
    for (name, value) in response.headers() {
        if !changing.contains(&name.as_str()) {
            head += &format!("{name}: {}\n", value.to_str().expect("text"));
        }
    }
    let id = bailiwick_tests::calls::request_id(&response);
    head + &response.text().await.expect("a body").replace(&id, "req_…")
}

/// Writes bytes that need not be HTTP, and gives what comes back until the connection is closed.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("taken");
    let mut answer = Vec::new();
    let closed = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await;
    let _reset = closed.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

/// The same with a server of plain HTTP, such as a router here.
async fn exchange_with(address: &str, bytes: impl AsRef<[u8]>) -> String {
    exchange(TcpStream::connect(address).await.expect("it listens"), bytes.as_ref()).await
}

/// The same with a worker, past the router, as an operator may.
async fn exchange_with_worker(region: &Region, bytes: impl AsRef<[u8]>) -> String {
    let connector = Connector::new(operator(REGION, region), ProcessRole::Worker).expect("connector");
    let address = region.processes.workers[0].address.parse().expect("an address");
    exchange(connector.connect(address).await.expect("a worker"), bytes.as_ref()).await
}

/// The first line of an answer.
fn status_of(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}
