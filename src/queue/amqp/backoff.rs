//! How long to wait before trying again, so that a broker that comes back is not trampled.

use std::time::Duration;

/// The longest first wait.
const BASE: Duration = Duration::from_millis(200);
/// The longest wait of all: somebody who restarts a broker sees its users return within this time.
const CAP: Duration = Duration::from_secs(10);

/// Waits that grow, each drawn from zero to its bound (full jitter).
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Waits after one more failure.
    pub(super) async fn pause(&mut self) {
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
    fn the_bound_doubles_from_200_ms_to_10_s() {
        let bounds: Vec<_> = [0, 1, 5, 6, 60, u32::MAX]
            .map(|failures| bound(failures).as_millis())
            .into();
        assert_eq!(bounds, [200, 400, 6_400, 10_000, 10_000, 10_000]);
    }
}
