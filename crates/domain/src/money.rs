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

    /// A plain decimal number of dollars, such as `0.000012`: no sign but a minus, no zeros at its end.
    pub fn to_plain(self) -> String {
        const NANOS: u64 = 1_000_000_000;
        let nanos = self.0.unsigned_abs();
        let mut text = String::with_capacity(24);
        if self.0 < 0 {
            text.push('-');
        }
        match nanos / NANOS {
            // Nearly always.
            0 => text.push('0'),
            whole => text.push_str(&whole.to_string()),
        }
        let (mut rest, mut unit) = (nanos % NANOS, NANOS);
        if rest > 0 {
            text.push('.');
        }
        // Each answer carries one, so its digits are not formatted and cut again.
        while rest > 0 {
            unit /= 10;
            text.push(char::from(b'0' + u8::try_from(rest / unit).unwrap_or_default()));
            rest %= unit;
        }
        text
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
        let cut_short = digits.ends_with('.');
        if whole.is_empty() || cut_short || fraction.len() > 9 || !decimal(whole) || !decimal(fraction) {
            return Err(MoneyError);
        }
        // Wider than the amount: the smallest one has no positive counterpart.
        let nanos: i128 = format!("{whole}{fraction:0<9}").parse().map_err(|_| MoneyError)?;
        i64::try_from(if negative { -nanos } else { nanos }).map(Self).map_err(|_| MoneyError)
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
        fn sums_are_exact_or_refused(a: i64, b: i64) {
            let exact = i128::from(a) + i128::from(b);
            let sum = NanoUsd(a).checked_add(NanoUsd(b));
            prop_assert_eq!(sum.map(|nanos| i128::from(nanos.0)), i64::try_from(exact).ok().map(i128::from));
            let bounded = exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
            prop_assert_eq!(i128::from(NanoUsd(a).saturating_add(NanoUsd(b)).0), bounded);
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "-?[$]?\\PC{0,30}") {
            let _ = text.parse::<NanoUsd>();
        }

        #[test]
        fn amounts_survive_their_text_form(nanos: i64) {
            let amount = NanoUsd(nanos);
            prop_assert_eq!(amount.to_string().parse::<NanoUsd>(), Ok(amount));
            let plain = amount.to_plain();
            prop_assert!(!plain.contains('.') || !plain.ends_with(['0', '.']), "{}", plain);
            prop_assert_eq!(plain.parse::<NanoUsd>(), Ok(amount));
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!("0.0375".parse(), Ok(NanoUsd(37_500_000)));
        assert_eq!("$0.001234567".parse(), Ok(NanoUsd(1_234_567)));
        assert_eq!(NanoUsd(1_234_567).to_string(), "$0.001234567");
        assert_eq!(i64::MIN.to_string().parse::<NanoUsd>(), Err(MoneyError));
        assert_eq!(NanoUsd(i64::MIN).to_string().parse(), Ok(NanoUsd(i64::MIN)));
        assert_eq!("150".parse(), Ok(NanoUsd(150_000_000_000)));
        for bad in [
            "",
            ".5",
            "1.",
            "--1",
            "$",
            "$-1",
            "+1",
            " 1",
            "1e3",
            "1.0000000001",
            "1,5",
            "99999999999999999999",
        ] {
            assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
        }
    }
}
