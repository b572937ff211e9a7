//! How long to wait before the next attempt: full jitter
//! (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>), so that a region's processes do not come back all at once.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LARGEST: Duration = Duration::from_secs(10);

/// Doubles from 100 ms to 10 s.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { bound: FIRST }
    }
}

impl Backoff {
    /// A random part of the present bound, which then doubles.
    pub fn next_wait(&mut self) -> Duration {
        let wait = random_part(self.bound);
        self.bound = self.bound.saturating_mul(2).min(LARGEST);
        wait
    }

    /// After a success.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Anything from nothing to `bound`.
pub fn random_part(bound: Duration) -> Duration {
    bound.mul_f64(rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_begin_again_after_a_success() {
        let mut backoff = Backoff::default();
        assert!(backoff.next_wait() <= FIRST);
        for _ in 0..100 {
            assert!(backoff.next_wait() <= LARGEST);
        }
        assert_eq!(backoff.bound, LARGEST);
        backoff.reset();
        assert_eq!(backoff.bound, FIRST);
    }
}
