//! What is limited, for whom, and how much.

use std::{fmt, str::FromStr};

use bailiwick_domain::{
    id::{DeploymentId, ModelId, OrganizationId},
    jurisdiction::Regional,
    key::KeyId,
    region::RegionCode,
};

use crate::window::Period;

/// The largest amount of a limit. In nano-dollars it is a billion dollars; with it, no sum over leases can overflow.
pub const MAX_AMOUNT: u64 = 1_000_000_000_000_000_000;

/// Limits of one organization, at most.
pub const MAX_LIMITS: usize = 100;

/// A limit, as an administrator sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    id: LimitId,
    measure: Measure,
    scope: Scope,
    amount: u64,
}

impl Limit {
    /// Errors: an amount over [`MAX_AMOUNT`]. An amount of 0 is a limit that admits nothing.
    pub fn new(id: LimitId, measure: Measure, scope: Scope, amount: u64) -> Result<Self, LimitError> {
        if amount > MAX_AMOUNT { Err(LimitError::Amount) } else { Ok(Self { id, measure, scope, amount }) }
    }

    /// Its name.
    pub fn id(&self) -> LimitId {
        self.id
    }

    /// What it counts.
    pub fn measure(&self) -> Measure {
        self.measure
    }

    /// For whom.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// How much of the measure, in each of its windows.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The account that a call is charged to; `None` when the limit is not about this call.
    pub fn account(&self, call: &Call) -> Option<Account> {
        if call.organization != self.id.organization {
            return None;
        }
        Some(Account {
            limit: self.id,
            key: self.scope.key.part(Some(call.key))?,
            member: self.scope.member.part(call.member)?,
            model: self.scope.model.part(Some(call.model))?,
            deployment: self.scope.deployment.part(call.deployment)?,
        })
    }

    /// Whether it is about calls at deployments: charged when a call is sent to one, and not when the call begins.
    pub fn is_of_deployments(&self) -> bool {
        self.scope.deployment != Over::All
    }

    /// Whether the account is one of this limit's.
    pub fn owns(&self, account: &Account) -> bool {
        account.limit == self.id
            && self.scope.key.owns(account.key)
            && self.scope.member.owns(account.member)
            && self.scope.model.owns(account.model)
            && self.scope.deployment.owns(account.deployment)
    }
}

/// Names a limit: the organization's identifier, which names the region (R1), and a number within it that is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId {
    /// Whose.
    pub organization: OrganizationId,
    /// Within it.
    pub number: u32,
}

impl Regional for LimitId {
    fn region_code(&self) -> RegionCode {
        self.organization.region_code()
    }
}

impl fmt::Display for LimitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/limits/{}", self.organization, self.number)
    }
}

impl FromStr for LimitId {
    type Err = LimitIdError;

    fn from_str(text: &str) -> Result<Self, LimitIdError> {
        let (organization, number) = text.split_once("/limits/").ok_or(LimitIdError)?;
        let organization = organization.parse().map_err(|_| LimitIdError)?;
        Ok(Self { organization, number: number.parse().map_err(|_| LimitIdError)? })
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// Calls that are begun in a minute.
    RequestsPerMinute,
    /// Tokens of calls that are begun in a minute.
    TokensPerMinute,
    /// Calls at one time.
    ParallelRequests,
    /// Nano-dollars in a day, UTC.
    NanoUsdPerDay,
    /// Nano-dollars in a month, UTC.
    NanoUsdPerMonth,
    /// Nano-dollars, ever.
    NanoUsdTotal,
}

impl Measure {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RequestsPerMinute,
        Self::TokensPerMinute,
        Self::ParallelRequests,
        Self::NanoUsdPerDay,
        Self::NanoUsdPerMonth,
        Self::NanoUsdTotal,
    ];

    /// The word that stands for it in stores and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RequestsPerMinute => "requests_per_minute",
            Self::TokensPerMinute => "tokens_per_minute",
            Self::ParallelRequests => "parallel_requests",
            Self::NanoUsdPerDay => "nano_usd_per_day",
            Self::NanoUsdPerMonth => "nano_usd_per_month",
            Self::NanoUsdTotal => "nano_usd_total",
        }
    }

    /// After which time it begins anew.
    pub const fn period(self) -> Period {
        match self {
            Self::RequestsPerMinute | Self::TokensPerMinute => Period::Minute,
            Self::NanoUsdPerDay => Period::Day,
            Self::NanoUsdPerMonth => Period::Month,
            Self::ParallelRequests | Self::NanoUsdTotal => Period::Always,
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|measure| measure.as_str() == word)
    }

    /// Whether what was taken comes back when the call ends.
    pub const fn is_parallel(self) -> bool {
        matches!(self, Self::ParallelRequests)
    }

    /// Whether it is money.
    pub const fn is_money(self) -> bool {
        matches!(self, Self::NanoUsdPerDay | Self::NanoUsdPerMonth | Self::NanoUsdTotal)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// For whom a limit is, within its organization. Any combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Which keys.
    pub key: Over<KeyId>,
    /// Which members. Of a call that no member answers for, only [`Over::All`] limits count.
    pub member: Over<MemberNumber>,
    /// Which models.
    pub model: Over<ModelId>,
    /// Which deployments. [`Over::All`] is every call, wherever it goes.
    pub deployment: Over<DeploymentId>,
}

impl Scope {
    /// The whole organization, as one.
    pub const ORGANIZATION: Self =
        Self { key: Over::All, member: Over::All, model: Over::All, deployment: Over::All };
}

/// How a limit spans one dimension of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over<T> {
    /// All of them together.
    All,
    /// This one.
    One(T),
    /// Each of them by itself: one rule, an account for each.
    Each,
}

impl<T> Over<T> {
    /// The same of what `change` makes of the one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Over<U> {
        match self {
            Self::All => Over::All,
            Self::One(one) => Over::One(change(one)),
            Self::Each => Over::Each,
        }
    }
}

impl<T: Copy + PartialEq> Over<T> {
    /// The account's part in this dimension; `None` when the call is outside.
    fn part(&self, of_call: Option<T>) -> Option<Option<T>> {
        match self {
            Self::All => Some(None),
            Self::One(one) => (of_call == Some(*one)).then_some(None),
            Self::Each => of_call.map(Some),
        }
    }

    fn owns(&self, part: Option<T>) -> bool {
        matches!(self, Self::Each) == part.is_some()
    }
}

/// The 128 bits of a member's identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberNumber(pub u128);

/// What limits look at in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose.
    pub organization: OrganizationId,
    /// Made with this key.
    pub key: KeyId,
    /// Whose key it is, where a member's.
    pub member: Option<MemberNumber>,
    /// Public model.
    pub model: ModelId,
    /// Where it is sent, once it is.
    pub deployment: Option<DeploymentId>,
}

/// What is counted in one sum: a limit, and the one that it is counted for in each dimension that it spans with [`Over::Each`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The limit.
    pub limit: LimitId,
    /// Of this key, where each key has its own.
    pub key: Option<KeyId>,
    /// Of this member, where each member has its own.
    pub member: Option<MemberNumber>,
    /// Of this model, where each model has its own.
    pub model: Option<ModelId>,
    /// Of this deployment, where each deployment has its own.
    pub deployment: Option<DeploymentId>,
}

impl Regional for Account {
    fn region_code(&self) -> RegionCode {
        self.limit.region_code()
    }
}

/// What is wrong with a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too much.
    #[error("a limit's amount is at most {MAX_AMOUNT}")]
    Amount,
}

/// Not a limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a limit is named by its organization's identifier, /limits/, and its number")]
pub struct LimitIdError;

#[cfg(test)]
mod tests;
