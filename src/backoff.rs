//! How long to wait before trying again, so that a service that comes back is not trampled.

use std::time::Duration;

/// The longest first wait.
const BASE: Duration = Duration::from_millis(200);
/// The longest wait of all: somebody who restarts a service sees its users return within this time.
const CAP: Duration = Duration::from_secs(5);

/// Waits that grow, each drawn from zero to its bound (full jitter).
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
    fn the_bound_doubles_from_200_ms_to_5_s() {
        let bounds: Vec<_> = [0, 1, 4, 5, 60, u32::MAX]
            .map(|failures| bound(failures).as_millis())
            .into();
        assert_eq!(bounds, [200, 400, 3_200, 5_000, 5_000, 5_000]);
    }
}
