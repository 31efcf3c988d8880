//! Lock-free counters of a gate: totals, counts per second, and the last answers.

use super::last_answers::LastAnswers;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The number of seconds that are kept.
const SECONDS: u64 = 64;

/// The counters of one gate.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) answered: AtomicU64,
    pub(super) throttled: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) waiting: AtomicU64,
    /// Consecutive failures of the server since its last answer.
    pub(super) failures_in_row: AtomicU32,
    pub(super) sent_by_second: PerSecond,
    /// Requests that were not accepted, by the second in which they were sent.
    pub(super) refused_by_second: PerSecond,
    pub(super) answered_by_second: PerSecond,
    pub(super) last_answers: LastAnswers,
}

impl Counts {
    /// Requests sent per second, at the time `at` since the gate was created.
    pub(super) fn sent_per_sec(&self, at: Duration) -> f64 {
        recent_rate(at, |second| self.sent_by_second.at(second) as f64)
    }

    /// Requests per second that the server accepted, at the time `at` since the gate was created.
    pub(super) fn accepted_per_sec(&self, at: Duration) -> f64 {
        recent_rate(at, |second| {
            let (sent, refused) = (self.sent_by_second.at(second), self.refused_by_second.at(second));
            sent.saturating_sub(refused) as f64
        })
    }
}

/// The mean per second over the current second, as far as it has passed, and the one before.
fn recent_rate(at: Duration, of_second: impl Fn(u64) -> f64) -> f64 {
    let second = at.as_secs();
    let part = at.as_secs_f64() - second as f64;
    let before = second.checked_sub(1).map_or(0.0, &of_second);
    (of_second(second) + before) / (1.0 + part)
}

/// Counts per second for the last minute.
#[derive(Debug)]
pub(super) struct PerSecond {
    /// The second in the upper half of a cell, the count in the lower half.
    cells: [AtomicU64; SECONDS as usize],
}

impl Default for PerSecond {
    fn default() -> PerSecond {
        PerSecond {
            cells: [const { AtomicU64::new(0) }; SECONDS as usize],
        }
    }
}

impl PerSecond {
    pub(super) fn count(&self, second: u64) {
        let cell = self.cell(second);
        if cell.load(Relaxed) >> 32 == second {
            cell.fetch_add(1, Relaxed);
            return;
        }
        // Another thread may have reset the cell to this second meanwhile.
        let turned = |seen: u64| {
            let is_turned = seen >> 32 == second;
            Some(if is_turned { seen + 1 } else { second << 32 | 1 })
        };
        // The update cannot fail, because `turned` always returns a value.
        let _ = cell.fetch_update(Relaxed, Relaxed, turned);
    }

    /// The count of a second; 0 if it is no longer kept.
    pub(super) fn at(&self, second: u64) -> u64 {
        let seen = self.cell(second).load(Relaxed);
        if seen >> 32 == second {
            seen & u64::from(u32::MAX)
        } else {
            0
        }
    }

    /// The sum over the 60 seconds that end with `second`.
    pub(super) fn minute(&self, second: u64) -> u64 {
        (second.saturating_sub(59)..=second)
            .map(|second| self.at(second))
            .sum()
    }

    fn cell(&self, second: u64) -> &AtomicU64 {
        &self.cells[(second % SECONDS) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_second_are_kept_for_a_minute() {
        let counts = PerSecond::default();
        for second in [0, 0, 5, 59, 60] {
            counts.count(second);
        }
        assert_eq!(counts.minute(59), 4);
        assert_eq!(counts.minute(60), 3);
        counts.count(64);
        assert_eq!((counts.at(0), counts.at(64)), (0, 1));
    }

    #[test]
    fn accepted_requests_are_averaged_over_the_last_second_or_two() {
        let counts = Counts::default();
        for _ in 0..120 {
            counts.sent_by_second.count(7);
        }
        for _ in 0..20 {
            counts.refused_by_second.count(7);
        }
        let rate = counts.accepted_per_sec(Duration::from_millis(7_250));
        assert!((rate - 80.0).abs() < 0.01, "{rate}");
        let rate = counts.accepted_per_sec(Duration::from_millis(8_000));
        assert!((rate - 100.0).abs() < 0.01, "{rate}");
    }
}
