//! The timeout of a request, learnt from the latencies of the last answers.
//!
//! A request that hangs must not hold a permit for the ten minutes of the default timeout. But a request that is only slow is paid for even
//! if it is given up. So the learnt timeout is generous, and it is longer for a request that was given up before.

use super::latency_model::{LatencyModel, TimedAnswer};
use std::time::Duration;

/// The fewest answers from which a timeout is learnt.
const LEAST_ANSWERS: usize = 32;

/// The timeout in relation to the 99th percentile of the latencies.
const BEYOND_LAST: f64 = 10.0;

/// The timeout in relation to the predicted latency of an answer with `max_tokens` tokens.
const BEYOND_LONGEST: f64 = 3.0;

/// The factor by which the timeout grows each time the same request is given up.
const AGAIN: u32 = 4;

/// Returns the timeout, at least `least`, of a request whose answer has at most `most_tokens` tokens. `None` if there are fewer than
/// [`LEAST_ANSWERS`] answers.
pub(super) fn learnt(answers: &[TimedAnswer], most_tokens: Option<u64>, least: Duration) -> Option<Duration> {
    if answers.len() < LEAST_ANSWERS {
        return None;
    }
    let mut latencies: Vec<f64> = answers.iter().map(|answer| answer.secs).collect();
    latencies.sort_unstable_by(f64::total_cmp);
    let long = latencies[latencies.len() * 99 / 100];
    let longest = match (most_tokens, LatencyModel::fit(answers)) {
        (Some(tokens), Some(model)) => model.secs(tokens as f64),
        _ => 0.0,
    };
    let secs = (BEYOND_LAST * long).max(BEYOND_LONGEST * longest);
    let learnt = Duration::try_from_secs_f64(secs).unwrap_or(Duration::MAX);
    Some(learnt.max(least))
}

/// Returns the timeout of a request that was given up `given_up` times, from the `learnt` one.
pub(super) fn after(given_up: u32, learnt: Duration) -> Duration {
    learnt.saturating_mul(AGAIN.saturating_pow(given_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(30);

    fn answers(count: usize, secs: impl Fn(usize) -> f64) -> Vec<TimedAnswer> {
        let answer = |i| TimedAnswer {
            secs: secs(i),
            tokens: i as f64,
        };
        (0..count).map(answer).collect()
    }

    #[test]
    fn timeout_is_ten_times_the_99th_percentile_and_never_below_the_least() {
        let secs = |answers: &[TimedAnswer]| learnt(answers, None, LEAST).map(|time| time.as_secs_f64());
        assert_eq!(secs(&answers(31, |_| 4.0)), None);
        assert_eq!(secs(&answers(32, |_| 4.0)), Some(40.0));
        assert_eq!(secs(&answers(256, |_| 0.2)), Some(30.0));
        // Two of 256 are beyond the percentile.
        assert_eq!(
            secs(&answers(256, |i| if i < 2 { 90.0 } else { 4.0 })),
            Some(40.0)
        );
    }

    #[test]
    fn timeout_leaves_room_for_an_answer_with_max_tokens() {
        let answers = answers(100, |i| 0.01 * i as f64);
        let time = learnt(&answers, Some(4000), LEAST).unwrap();
        assert!((time.as_secs_f64() - 120.0).abs() < 0.1, "{time:?}");
    }

    #[test]
    fn timeout_grows_each_time_a_request_is_given_up() {
        assert_eq!(after(0, LEAST), LEAST);
        assert_eq!(after(1, LEAST), LEAST * 4);
        assert_eq!(after(200, LEAST), Duration::from_secs(30 * u64::from(u32::MAX)));
    }
}
