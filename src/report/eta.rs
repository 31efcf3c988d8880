//! The time until every task has an outcome.

use super::figures::time;
use std::time::Duration;

/// The longest time that is shown, in seconds: some 30 years.
const MAX_SECONDS: f64 = 1e9;

/// Seconds that `left` tasks take at `rate` tasks per second. `None` if the rate is 0.
pub(super) fn eta_seconds(left: usize, rate: f64) -> Option<f64> {
    (rate > 0.0).then(|| left as f64 / rate)
}

/// `12/s eta 3m07s`; `?` if the time is unknown.
pub(super) fn rate_and_eta(rate: f64, eta_seconds: Option<f64>) -> String {
    let eta = eta_seconds.map_or_else(
        || "?".to_owned(),
        |seconds| time(Duration::from_secs_f64(seconds.min(MAX_SECONDS))),
    );
    format!("{rate:.0}/s eta {eta}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eta_is_unknown_at_rate_0_and_bounded_at_small_rates() {
        assert_eq!(eta_seconds(10, 0.0), None);
        assert_eq!(eta_seconds(10, 4.0), Some(2.5));
        assert_eq!(rate_and_eta(4.0, Some(2.5)), "4/s eta 2.5s");
        assert_eq!(rate_and_eta(0.0, None), "0/s eta ?");
        assert_eq!(rate_and_eta(1e-9, eta_seconds(10, 1e-9)), "0/s eta 277777h46m");
    }
}
