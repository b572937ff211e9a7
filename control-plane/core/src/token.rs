//! Bearer tokens: a service account's secret becomes one, and one becomes a caller.
//!
//! What is wrong with a secret, or with a token, callers do not hear: unknown, revoked and wrong are one answer, on one path. Nothing that was verified is kept:
//! each call reads the account anew, so a revocation holds from its commit on, whichever replica is asked. Only another region's credentials are told apart,
//! from what stands in them for everybody to read.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bailiwick_domain::{
    guard::Guard,
    jurisdiction::Local,
    key::{KeyDigest, ServiceAccountId, ServiceSecret},
    organization::OrganizationStatus,
    time::Timestamp,
};
use rand::RngExt as _;
use secrecy::SecretString;

use crate::{
    caller::{Actor, Caller, Principal},
    control_plane::{ControlPlane, PerMinute},
    error::UseCaseError,
    ports::{
        store::StoreError,
        token::{Claims, TokenRefused},
    },
    records::{Chain, ServiceAccountRecord},
    token_key,
};

/// How long a token lives, at most and by default.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// By how much the clock of the replica that made a token may be ahead of the one that verifies it. Its end has no such leeway.
const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// No token of ours is nearly so long.
const MAX_TOKEN_BYTES: usize = 2048;

/// Exchanges from one address within a minute, and from all that are not counted by themselves.
const CALLS_PER_ADDRESS: u32 = 60;
const CALLS_OF_OTHERS: u32 = 600;
/// Addresses that are counted by themselves within a minute.
const ADDRESSES: usize = 4096;

/// A token that was just made.
#[derive(Debug)]
pub struct IssuedToken {
    /// A secret.
    pub token: SecretString,
    /// Whose it is.
    pub account: ServiceAccountRecord,
    /// From when on it is refused.
    pub expires_at: Timestamp,
}

impl ControlPlane {
    /// Exchanges a service account's secret for a token that lives as long as is asked for, at most [`LONGEST_LIFETIME`]. `from` is counted, and bounds how often somebody may try.
    ///
    /// # Errors
    /// The secret is malformed or of another region; it is not a living account's (one answer); too many tried from there.
    pub async fn token_issue(
        &self,
        from: IpAddr,
        secret: &str,
        lifetime: Duration,
    ) -> Result<IssuedToken, UseCaseError> {
        self.count_token_call(from)?;
        if lifetime.is_zero() || lifetime > LONGEST_LIFETIME {
            return Err(UseCaseError::invalid("lifetime_seconds", "is 1 to 900 (15 minutes)"));
        }
        let secret = ServiceSecret::parse(secret)
            .map_err(|error| UseCaseError::invalid("service_account_secret", error.to_string()))?;
        let id = match self.parts.jurisdiction.admit(secret.account()) {
            Ok(id) => id,
            Err(_) if !Guard::TokenRegion.stands() => return Err(unproved()),
            Err(foreign) => {
                self.note_foreign("unauthenticated", &secret.account().to_string()).await;
                return Err(foreign.into());
            }
        };
        let found = self.store().service_account_fetch(id).await?;
        // An account that is not there is compared with too: nobody shall hear, or measure, which exist.
        let digest = found.as_ref().map_or(KeyDigest([0; 32]), |row| row.digest);
        let proved = secret.is(&digest, &self.parts.pepper) || !Guard::ServiceSecretDigest.stands();
        let account = found.filter(|row| proved && row.revoked_at.is_none()).ok_or_else(unproved)?;
        self.token_make(account, lifetime).await
    }

    async fn token_make(
        &self,
        account: ServiceAccountRecord,
        lifetime: Duration,
    ) -> Result<IssuedToken, UseCaseError> {
        let chain = Chain::Organization(account.organization);
        let region = self.keys(Chain::Region).await?;
        let signing = self.store().token_key_list().await?.pop();
        let signing = signing.ok_or_else(|| UseCaseError::Internal("the region has no token key".into()))?;
        let key = token_key::opened(&region, &signing)
            .ok_or_else(|| UseCaseError::Internal("the region's token key does not open".into()))?;
        let now = whole_seconds(self.now());
        let expires_at = now.saturating_add(lifetime);
        let claims = Claims {
            issuer: self.token_issuer(),
            audience: self.token_audience(),
            account: *account.id.get(),
            organization: *account.organization.get(),
            role: account.role,
            secret_version: account.version,
            issued_at: now,
            not_before: now,
            expires_at,
            id: format!("{:032x}", rand::rng().random::<u128>()),
        };
        let token = self.parts.tokens.sign(*signing.id.get(), &key, &claims)?;
        let actor = Actor::Principal(principal(&account)).to_string();
        let audit = self.keys(chain).await?.audit(chain, now, &actor, "token.issue", actor.clone());
        // Whoever's organization is deleted has no keys to seal a record with, and no account.
        let audit = audit.map_err(gone)?;
        let committed = self.store().begin().await?.commit(audit, &[]).await;
        committed.map_err(|error| match error {
            StoreError::NotFound => unproved(),
            other => other.into(),
        })?;
        Ok(IssuedToken { token, account, expires_at })
    }

    /// Whom a token is of: as the account is now.
    ///
    /// # Errors
    /// It is another region's; it is not good, for whatever reason (one answer).
    pub async fn token_verify(&self, token: &str) -> Result<Caller, UseCaseError> {
        let claims = match self.token_claims(token).await? {
            Ok(claims) => claims,
            Err(refused) => return Err(self.refuse_token(refused)),
        };
        match self.token_account(&claims).await? {
            Some(account) => Ok(Caller::of_organization(principal(&account))),
            None => Err(self.refuse_token(TokenRefused::Account)),
        }
    }

    async fn token_claims(&self, token: &str) -> Result<Result<Claims, TokenRefused>, UseCaseError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Ok(Err(TokenRefused::Malformed));
        }
        let id = match self.parts.tokens.key_id(token) {
            Ok(id) => id,
            Err(refused) => return Ok(Err(refused)),
        };
        let id = match self.parts.jurisdiction.admit(id) {
            Ok(id) => id,
            Err(_) if !Guard::TokenRegion.stands() => return Ok(Err(TokenRefused::UnknownKey)),
            Err(foreign) => {
                self.note_foreign("unauthenticated", &id.to_string()).await;
                return Err(foreign.into());
            }
        };
        let Some(row) = self.store().token_key_fetch(id).await? else {
            return Ok(Err(TokenRefused::UnknownKey));
        };
        let Some(key) = token_key::opened(&self.keys(Chain::Region).await?, &row) else {
            return Err(UseCaseError::Internal("the region's token key does not open".into()));
        };
        let (issuer, audience) = (self.token_issuer(), self.token_audience());
        let verified = self.parts.tokens.verify(token, &key, &issuer, &audience);
        Ok(verified.and_then(|claims| in_time(&claims, self.now()).map(|()| claims)))
    }

    /// The account, where it is what the token says: an account that changed is asked to show its secret again.
    async fn token_account(&self, claims: &Claims) -> Result<Option<ServiceAccountRecord>, UseCaseError> {
        let home = &self.parts.jurisdiction;
        let Ok(id): Result<Local<ServiceAccountId>, _> = home.admit(claims.account) else { return Ok(None) };
        let Some(row) = self.store().service_account_fetch(id).await? else { return Ok(None) };
        let same = *row.organization.get() == claims.organization
            && row.role == claims.role
            && row.version == claims.secret_version
            && (row.revoked_at.is_none() || !Guard::TokenAccount.stands());
        if !same {
            return Ok(None);
        }
        let organization = self.store().organization_fetch(row.organization).await?;
        Ok(organization.filter(|found| found.status != OrganizationStatus::Deleted).map(|_| row))
    }

    fn refuse_token(&self, refused: TokenRefused) -> UseCaseError {
        tracing::debug!(reason = %refused, "a bearer token was refused");
        UseCaseError::Unauthenticated {
            reason: "invalid_token",
            message: "the bearer token is not valid here, or not any more: exchange the service account's secret for another",
        }
    }

    /// Who makes tokens here.
    fn token_issuer(&self) -> String {
        format!("spiffe://{}/control-plane", self.parts.trust_domain)
    }

    /// What they are good for.
    fn token_audience(&self) -> String {
        format!("bailiwick-admin/{}", self.parts.jurisdiction.region().name)
    }
}

fn principal(row: &ServiceAccountRecord) -> Principal {
    Principal::new(row.id, row.organization, row.role)
}

fn unproved() -> UseCaseError {
    UseCaseError::Unauthenticated {
        reason: "invalid_service_account",
        message: "the service account's secret is not valid: it is unknown, revoked or was replaced",
    }
}

fn gone(error: UseCaseError) -> UseCaseError {
    if matches!(error, UseCaseError::NotFound { .. }) { unproved() } else { error }
}

fn in_time(claims: &Claims, now: Timestamp) -> Result<(), TokenRefused> {
    let ahead = now.saturating_add(CLOCK_SKEW);
    if (claims.not_before > ahead || claims.issued_at > ahead) && Guard::TokenBeginning.stands() {
        return Err(TokenRefused::NotYet);
    }
    if claims.expires_at <= now && Guard::TokenEnd.stands() {
        return Err(TokenRefused::Expired);
    }
    if claims.expires_at > claims.issued_at.saturating_add(LONGEST_LIFETIME) && Guard::TokenLife.stands() {
        return Err(TokenRefused::TooLong);
    }
    Ok(())
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros().div_euclid(1_000_000).saturating_mul(1_000_000))
}

/// Counts exchanges, each address by itself: somebody who tries secrets keeps nobody else from theirs.
#[derive(Debug)]
pub(crate) struct TokenCalls {
    of_minute: Mutex<(i64, HashMap<IpAddr, u32>)>,
    others: PerMinute,
}

impl Default for TokenCalls {
    fn default() -> Self {
        Self { of_minute: Mutex::default(), others: PerMinute::new(CALLS_OF_OTHERS) }
    }
}

impl TokenCalls {
    /// Errors: the limit is reached; how long until the next minute.
    pub(crate) fn take(&self, from: IpAddr, now: Timestamp) -> Result<(), Duration> {
        const MINUTE_MICROS: i64 = 60_000_000;
        let minute = now.as_micros().div_euclid(MINUTE_MICROS);
        let mut of_minute = self.of_minute.lock().unwrap_or_else(PoisonError::into_inner);
        if of_minute.0 != minute {
            *of_minute = (minute, HashMap::new());
        }
        let (address, known) = (network(from), of_minute.1.len());
        match of_minute.1.get_mut(&address) {
            Some(taken) if *taken >= CALLS_PER_ADDRESS => {
                let next = Timestamp::from_micros((minute + 1).saturating_mul(MINUTE_MICROS));
                Err(next.saturating_since(now))
            }
            Some(taken) => {
                *taken += 1;
                Ok(())
            }
            None if known < ADDRESSES => {
                of_minute.1.insert(address, 1);
                Ok(())
            }
            None => self.others.take(now),
        }
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests;
