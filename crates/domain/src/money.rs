//! Money in nano-dollars: integers, so that sums are exact.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// 10⁻⁹ US dollars. Covers ± 9.2 billion dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(i64);

impl NanoUsd {
    /// From nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// In nano-dollars.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// The sum; `None` when it does not fit.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, or the largest amount.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        write!(f, "{sign}${}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    }
}

/// A decimal number, such as `2.5` or `0.0375`, times 10⁹, exactly. Errors: other characters, more than nine digits after the point, or a number that does not fit.
impl FromStr for NanoUsd {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let digits = digits.strip_prefix('$').unwrap_or(digits);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let decimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 9 || !decimal(whole) || !decimal(fraction) {
            return Err(MoneyError);
        }
        let nanos: i64 = format!("{whole}{fraction:0<9}").parse().map_err(|_| MoneyError)?;
        Ok(Self(if negative { -nanos } else { nanos }))
    }
}

/// What is wrong with an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a decimal number of dollars with at most nine digits after the point, such as 2.5")]
pub struct MoneyError;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn amounts_survive_their_text_form(nanos in -i64::MAX..=i64::MAX) {
            let amount = NanoUsd(nanos);
            prop_assert_eq!(amount.to_string().parse::<NanoUsd>(), Ok(amount));
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!("0.0375".parse(), Ok(NanoUsd(37_500_000)));
        assert_eq!("150".parse(), Ok(NanoUsd(150_000_000_000)));
        for bad in ["", ".5", "1e3", "1.0000000001", "1,5", "99999999999999999999"] {
            assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
        }
    }
}
