//! Latency and tokens of the last answers of an LM, without a lock.

use super::latency_model::TimedAnswer;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The number of answers that are kept.
const KEPT: u64 = 256;

/// The number of answers whose median latency is reported.
const SHOWN: usize = 64;

#[derive(Debug)]
pub(super) struct LastAnswers {
    next: AtomicU64,
    /// The latency in microseconds in the upper half, the tokens in the lower half.
    answers: [AtomicU64; KEPT as usize],
}

impl Default for LastAnswers {
    fn default() -> LastAnswers {
        LastAnswers {
            next: AtomicU64::new(0),
            answers: [const { AtomicU64::new(0) }; KEPT as usize],
        }
    }
}

impl LastAnswers {
    /// Adds an answer. Returns the number of answers before it.
    pub(super) fn add(&self, latency: Duration, tokens: u64) -> u64 {
        let next = self.next.fetch_add(1, Relaxed);
        let micros = latency.as_micros().min(u128::from(u32::MAX)) as u64;
        let tokens = tokens.min(u64::from(u32::MAX));
        self.answers[(next % KEPT) as usize].store(micros << 32 | tokens, Relaxed);
        next
    }

    /// The median latency in milliseconds of the last answers; `None` before the first.
    pub(super) fn median_ms(&self) -> Option<u64> {
        let mut latencies: Vec<f64> = self.last(SHOWN).iter().map(|answer| answer.secs).collect();
        latencies.sort_unstable_by(f64::total_cmp);
        let median = latencies.get(latencies.len() / 2)?;
        Some((median * 1e3).round() as u64)
    }

    /// All answers that are kept, in no particular order.
    pub(super) fn all(&self) -> Vec<TimedAnswer> {
        self.last(KEPT as usize)
    }

    /// The latest answers, at most `most` of them.
    pub(super) fn last(&self, most: usize) -> Vec<TimedAnswer> {
        let next = self.next.load(Relaxed);
        let first = next.saturating_sub((most as u64).min(KEPT));
        let answer = |number: u64| {
            let packed = self.answers[(number % KEPT) as usize].load(Relaxed);
            TimedAnswer {
                secs: (packed >> 32) as f64 / 1e6,
                tokens: (packed & u64::from(u32::MAX)) as f64,
            }
        };
        (first..next).map(answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_ms_is_of_the_last_64_latencies() {
        let answers = LastAnswers::default();
        assert_eq!(answers.median_ms(), None);
        for ms in [5000, 1, 2, 3] {
            answers.add(Duration::from_millis(ms), 1);
        }
        assert_eq!(answers.median_ms(), Some(3));
        for _ in 0..64 {
            answers.add(Duration::from_millis(9), 1);
        }
        assert_eq!(answers.median_ms(), Some(9));
    }

    #[test]
    fn last_256_answers_are_kept_with_latency_and_tokens() {
        let answers = LastAnswers::default();
        for tokens in 0..300 {
            assert_eq!(answers.add(Duration::from_micros(2_500_000), tokens), tokens);
        }
        let kept = answers.all();
        assert_eq!((kept.len(), kept[0].secs, kept[0].tokens), (256, 2.5, 44.0));
        assert_eq!(answers.last(2).len(), 2);
    }
}
