//! Delays between retries, so that a service that restarts is not flooded.

use std::time::Duration;

/// The longest first delay.
const BASE: Duration = Duration::from_millis(200);
/// The longest delay: within this time after a service restarts its users return.
const CAP: Duration = Duration::from_secs(5);

/// Growing delays, each drawn from zero to its bound (full jitter).
#[derive(Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Waits after one more failure.
    pub(crate) async fn pause(&mut self) {
        let bound = bound(self.failures);
        self.failures = self.failures.saturating_add(1);
        tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
    }
}

fn bound(failures: u32) -> Duration {
    BASE.saturating_mul(2u32.saturating_pow(failures)).min(CAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_bound_doubles_from_200_ms_to_5_s() {
        let bounds: Vec<_> = [0, 1, 4, 5, 60, u32::MAX]
            .map(|failures| bound(failures).as_millis())
            .into();
        assert_eq!(bounds, [200, 400, 3_200, 5_000, 5_000, 5_000]);
    }
}
