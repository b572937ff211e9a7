//! 3: another region's credentials at the admin API.

use async_trait::async_trait;
use bailiwick_domain::{
    key::ServiceSecret,
    spiffe::{ProcessRole, SpiffeId},
};
use bailiwick_proto::status::{metadata_of, reason_of};
use rustls::{AlertDescription, HandshakeKind};
use secrecy::{ExposeSecret as _, SecretString};
use tonic::{Code, Status};

use super::{identifiers::nobody, layer};
use crate::{
    armed::{program, say, untimely::Time},
    attack::{Attack, Pair},
    attempt::{Attempt, Probe},
    badge::Badge,
    knock::{Knock, Speaks, come_again, knock},
};

const WRONG_REGION: &str = "FailedPrecondition wrong_region";
const NO_ADDRESS: &str = "the context names no address for tokens";

pub(super) struct AdminCallers;

#[async_trait]
impl Attack for AdminCallers {
    fn number(&self) -> u8 {
        3
    }

    fn name(&self) -> &'static str {
        "foreign credentials at the admin API"
    }

    async fn run(&self, pair: Pair<'_>) -> Vec<Attempt> {
        let admin = Listener {
            address: Some(&pair.target.access.admin),
            layer: layer::ADMIN_TLS,
            speaks: Speaks::Grpc,
        };
        vec![
            admin.foreign("the other region's operator", Some(&pair.attacker.operator_badge)).await,
            admin.made_up(pair, ProcessRole::Operator).await,
            admin.without().await,
            foreign_token(pair).await,
            foreign_secret(pair).await,
            made_up_secret(pair).await,
        ]
    }
}

/// The other region's bearer token, good there at this very moment.
async fn foreign_token(pair: Pair<'_>) -> Attempt {
    let probe = Probe::new("the other region's bearer token", layer::TOKEN_EDGE, WRONG_REGION);
    if pair.target.access.tokens.is_none() {
        return probe.not_attempted(NO_ADDRESS);
    }
    match &pair.attacker.program {
        Ok(foreign) => {
            let organization = &pair.target.account.organization;
            let answer = program::present(pair.target, foreign.token.expose_secret(), organization).await;
            judge(probe, answer, |status| is_sent_home(pair, status))
        }
        Err(why) => probe.not_attempted(why.as_str()),
    }
}

/// The secret of one of the other region's service accounts.
async fn foreign_secret(pair: Pair<'_>) -> Attempt {
    let probe = Probe::new("the other region's service-account secret", layer::TOKEN_EDGE, WRONG_REGION);
    if pair.target.access.tokens.is_none() {
        return probe.not_attempted(NO_ADDRESS);
    }
    match &pair.attacker.program {
        Ok(foreign) => {
            let answer = program::token(pair.target, &foreign.secret, 60).await.map(drop);
            judge(probe, answer, |status| is_sent_home(pair, status))
        }
        Err(why) => probe.not_attempted(why.as_str()),
    }
}

async fn made_up_secret(pair: Pair<'_>) -> Attempt {
    let what = "a made-up service-account secret of an account of this region";
    let probe = Probe::new(what, layer::TOKEN_SECRET, "Unauthenticated invalid_service_account");
    if pair.target.access.tokens.is_none() {
        return probe.not_attempted(NO_ADDRESS);
    }
    let program = match &pair.target.program {
        Ok(program) => ServiceSecret::parse(program.secret.expose_secret()),
        Err(why) => return probe.not_attempted(why.as_str()),
    };
    // Of an account that is there: that alone proves nothing.
    let account = match program {
        Ok(secret) => secret.account(),
        Err(error) => return probe.not_attempted(error.to_string()),
    };
    let secret = SecretString::from(ServiceSecret::another(account).expose());
    let answer = program::token(pair.target, &secret, 60).await.map(drop);
    judge(probe, answer, |status| {
        status.code() == Code::Unauthenticated
            && reason_of(status).as_deref() == Some("invalid_service_account")
    })
}

fn is_sent_home(pair: Pair<'_>, status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && reason_of(status).as_deref() == Some("wrong_region")
        && metadata_of(status, "region").as_deref() == Some(pair.attacker.name())
}

fn judge(probe: Probe, answer: Result<(), Status>, as_documented: impl FnOnce(&Status) -> bool) -> Attempt {
    match answer {
        Ok(()) => probe.expect(false, "it was served"),
        Err(status) if nobody(&status) => probe.unanswered(say(&status)),
        Err(status) => probe.expect(as_documented(&status), say(&status)),
    }
}

/// A listener that wants a certificate, and how certificates that are not its region's fare there.
pub(super) struct Listener<'a> {
    pub(super) address: Option<&'a str>,
    pub(super) layer: &'static str,
    pub(super) speaks: Speaks,
}

impl Listener<'_> {
    /// A real certificate of another region. Its chain is not this region's, and its name says so.
    pub(super) async fn foreign(&self, whose: &str, badge: Option<&Badge>) -> Attempt {
        let what = format!("the certificate of {whose}");
        self.present(what, badge.ok_or("there is none"), AlertDescription::CertificateUnknown).await
    }

    /// A certificate that names the target's own region, under a root that has the name of its own: the chain is followed, and its signature does not
    /// hold.
    pub(super) async fn made_up(&self, pair: Pair<'_>, role: ProcessRole) -> Attempt {
        let holder = SpiffeId::new(pair.target.domain.clone(), role, "verify-isolation");
        let badge = holder.map_err(|error| error.to_string()).and_then(|holder| Badge::made_up(&holder));
        let what = format!("a made-up certificate that names this region's {role}");
        let badge = badge.as_ref().map_err(String::as_str);
        self.present(what, badge, AlertDescription::DecryptError).await
    }

    /// A certificate of the target's own region, of a role that has nothing to say here.
    pub(super) async fn wrong_role(&self, whose: &str, badge: Result<&Badge, &str>) -> Attempt {
        let what = format!("the certificate of this region's own {whose}");
        self.present(what, badge, AlertDescription::CertificateUnknown).await
    }

    /// A certificate of the target's own region, in a role that is admitted here, but not at this time. TLS has one alert for what has expired and for what is
    /// not valid yet (RFC 8446, section 6.2: "has expired or is not currently valid").
    pub(super) async fn untimely(&self, whose: &str, time: Time, badge: Result<&Badge, &str>) -> Attempt {
        let what = format!("a certificate of {whose} that {time}");
        self.present(what, badge, AlertDescription::CertificateExpired).await
    }

    /// A session of somebody whose certificate was taken, resumed: nothing would be verified again.
    pub(super) async fn resumed(&self, whose: &str, badge: Result<&Badge, &str>) -> Attempt {
        let what = format!("a session of {whose}, resumed");
        let probe = Probe::new(what, self.layer, "a full handshake: no session is resumed");
        let (Some(address), Ok(badge)) = (self.address, badge) else {
            return probe.not_attempted(badge.err().unwrap_or("the context names no such address"));
        };
        match come_again(address, badge, self.speaks).await {
            Ok(kind) => probe.expect(kind != HandshakeKind::Resumed, format!("{kind:?} handshake")),
            Err(why) => probe.unanswered(why),
        }
    }

    pub(super) async fn without(&self) -> Attempt {
        let probe = Probe::new("no certificate", self.layer, alert(AlertDescription::CertificateRequired));
        self.knock(probe, None, AlertDescription::CertificateRequired).await
    }

    async fn present(
        &self,
        what: String,
        badge: Result<&Badge, &str>,
        expected: AlertDescription,
    ) -> Attempt {
        let probe = Probe::new(what, self.layer, alert(expected));
        match badge {
            Ok(badge) => self.knock(probe, Some(badge), expected).await,
            Err(why) => probe.not_attempted(why),
        }
    }

    async fn knock(&self, probe: Probe, badge: Option<&Badge>, expected: AlertDescription) -> Attempt {
        let Some(address) = self.address else {
            return probe.not_attempted("the context names no such address");
        };
        match knock(address, badge, self.speaks).await {
            Knock::Nobody(why) => probe.unanswered(why),
            answer => probe.expect(answer == Knock::Alert(expected), answer.to_string()),
        }
    }
}

fn alert(expected: AlertDescription) -> String {
    format!("TLS alert {expected:?}")
}
