//! Distinguishes a coordinator that renews its lease from a dead one, by what is left of the lease each time it is asked for.

use super::Process;
use std::time::Duration;

/// Clock tolerance: a remaining lease that grew by less than this was not renewed.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(100);

/// Remembers the holder of a lease.
#[derive(Debug, Default)]
pub struct LeaseWatch(Option<(Process, Duration)>);

impl LeaseWatch {
    /// Whether no holder was seen yet.
    pub fn is_new(&self) -> bool {
        self.0.is_none()
    }

    /// Notes who holds the lease and how much is left of it. Returns whether the same process has renewed it since the last time.
    pub fn is_renewed(&mut self, holder: &Process, left: Duration) -> bool {
        let before = self.0.replace((holder.clone(), left));
        before.is_some_and(|(known, was)| known == *holder && left > was + CLOCK_TOLERANCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_renewed_when_more_is_left_of_the_same_process_lease() {
        let (one, other) = (Process::current(), Process::current());
        let mut watch = LeaseWatch::default();
        assert!(watch.is_new());
        for (holder, left_ms, renewed) in [
            (&one, 9_000, false),
            (&one, 8_500, false),
            (&one, 8_550, false),
            (&one, 15_000, true),
            (&other, 15_500, false),
            (&other, 14_000, false),
        ] {
            assert_eq!(watch.is_renewed(holder, Duration::from_millis(left_ms)), renewed);
        }
        assert!(!watch.is_new());
    }
}
