//! 7: usage that is not this region's, reported by a worker that is.

use std::str::FromStr;

use async_trait::async_trait;
use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    key::KeyId,
    packed::Packed,
    time::{Clock as _, SystemClock},
    usage::{EventId, RequestId},
};
use bailiwick_proto::{
    encoded::EventGatherer,
    status::{metadata_of, reason_of},
    worker::v1::{
        CallEnd, CallType, Hello, ReportRequest, ReportResponse, SubscribeRequest, UsageEvent, UsageSource,
        UsageSubject, configuration_service_client::ConfigurationServiceClient, subscribe_request,
        usage_service_client::UsageServiceClient,
    },
};
use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status, transport::Channel};

use super::{identifiers::nobody, layer};
use crate::{
    armed::{Armed, TIMEOUT, say},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
};

pub(super) struct Usage;

#[async_trait]
impl Attack for Usage {
    fn number(&self) -> u8 {
        7
    }

    fn name(&self) -> &'static str {
        "usage of a foreign organization"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let Pair { attacker, target } = pair;
        let foreign = |change: fn(&mut UsageSubject, UsageSubject)| {
            let mut subject = subject_of(target);
            change(&mut subject, subject_of(attacker));
            subject
        };
        let unknown = UsageSubject {
            organization_id: packed::<OrganizationId>(&target.minted("org")),
            ..subject_of(target)
        };
        let batches = [
            ("an event of the other region's organization", layer::PROCESS_EDGE, subject_of(attacker)),
            (
                "the same with this region's key, model and deployment",
                layer::PROCESS_EDGE,
                foreign(|subject, other| subject.organization_id = other.organization_id),
            ),
            (
                "an event of this region that names the other's key",
                layer::PROCESS_EDGE,
                foreign(|subject, other| subject.key_id = other.key_id),
            ),
            (
                "an event of this region that names the other's deployment",
                layer::PROCESS_EDGE,
                foreign(|subject, other| subject.deployment_id = other.deployment_id),
            ),
            ("an event of an organization that this region never had", layer::INTAKE, unknown),
        ];
        let channel = channel(target);
        let mut attempts = Vec::new();
        for (what, layer, subject) in batches {
            let probe = Probe::new(what, layer, "acknowledged as refused: 0 stored, 1 refused");
            attempts.push(match &channel {
                Ok(channel) => report(probe, channel.clone(), &subject).await,
                Err(why) => probe.not_attempted(why),
            });
        }
        attempts.push(subscribe(pair, &channel).await);
        attempts
    }
}

/// To the target's worker API, as one of its workers.
fn channel(target: &Armed) -> Result<Channel, String> {
    let address = target.access.processes.as_ref().ok_or("the context names no worker API")?;
    target.worker.as_ref().map_err(Clone::clone)?.channel(address)
}

/// Whose call an event may be of, in a region.
fn subject_of(of: &Armed) -> UsageSubject {
    UsageSubject {
        organization_id: packed::<OrganizationId>(&of.account.organization),
        key_id: packed::<KeyId>(&of.account.key_id),
        model_id: packed::<ModelId>(&of.identifier("mdl")),
        deployment_id: packed::<DeploymentId>(&of.identifier("dep")),
    }
}

/// An event that is good anywhere.
fn event() -> UsageEvent {
    UsageEvent {
        event_id: EventId::new(SystemClock.now()).as_bytes().to_vec().into(),
        request_id: RequestId::random().as_bytes().to_vec().into(),
        call_type: CallType::ChatCompletion.into(),
        status: 200,
        end: CallEnd::Completed.into(),
        source: UsageSource::ProviderFinal.into(),
        prompt_tokens: 1,
        completion_tokens: 1,
        attempts: 1,
        ..UsageEvent::default()
    }
}

/// An identifier as events have it; nobody's, where the text is none.
fn packed<T: FromStr + Packed>(text: &str) -> Bytes {
    text.parse().map(|id: T| id.to_packed()).unwrap_or_default().into()
}

async fn report(probe: Probe, channel: Channel, subject: &UsageSubject) -> Attempt {
    let mut events = EventGatherer::default();
    events.push(&subject.encode_to_vec(), &event().encode_to_vec());
    let batch = ReportRequest { journal_id: ulid(), first_sequence: 1, events: events.finish() };
    let asked = async {
        let mut client = UsageServiceClient::new(channel);
        client.report(tokio_stream::once(batch)).await?.into_inner().message().await
    };
    let answer: Result<Option<ReportResponse>, Status> = match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(answer) => answer,
        Err(_elapsed) => return probe.unanswered("no answer in time"),
    };
    match answer {
        Ok(Some(answer)) => {
            let refused = answer.inserted == 0 && answer.refused == 1 && answer.acknowledged_sequence == 1;
            let said = format!("acknowledged: {} stored, {} refused", answer.inserted, answer.refused);
            probe.expect(refused, said)
        }
        Ok(None) => probe.expect(false, "the stream ended without an answer"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => probe.expect(false, say(&status)),
    }
}

/// A journal's name. 26 digits are a ULID (of the year 1970, say).
fn ulid() -> String {
    format!("0{:025}", rand::random::<u64>())
}

/// R5 in the other direction: this region's worker asks for the other region's configuration.
async fn subscribe(pair: Pair<'_>, channel: &Result<Channel, String>) -> Attempt {
    let what = "a worker of this region that asks for the other's configuration";
    let probe = Probe::new(what, layer::PROCESS_EDGE, "FailedPrecondition wrong_region");
    let channel = match channel {
        Ok(channel) => channel.clone(),
        Err(why) => return probe.not_attempted(why),
    };
    let hello = Hello {
        region: pair.attacker.name().to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        protocol_min: 1,
        protocol_max: 1,
        advertise_address: "127.0.0.1:9".to_owned(),
        boot_id: ulid(),
        ..Hello::default()
    };
    let hello = SubscribeRequest { message: Some(subscribe_request::Message::Hello(hello)) };
    let asked = async {
        let mut client = ConfigurationServiceClient::new(channel);
        client.subscribe(tokio_stream::once(hello)).await?.into_inner().message().await
    };
    match tokio::time::timeout(TIMEOUT, asked).await {
        Err(_elapsed) => probe.unanswered("no answer in time"),
        Ok(Ok(_)) => probe.expect(false, "it was welcomed"),
        Ok(Err(status)) if nobody(&status) => probe.unanswered(say(&status)),
        Ok(Err(status)) => {
            let refused = status.code() == Code::FailedPrecondition
                && reason_of(&status).as_deref() == Some("wrong_region")
                && metadata_of(&status, "region").as_deref() == Some(pair.attacker.name());
            probe.expect(refused, say(&status))
        }
    }
}
