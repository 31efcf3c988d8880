//! A gate as one of several that may take a call: what the choice looks at, and the try to enter without a wait.

use super::{Gate, RequestInFlight};
use crate::account::health::HealthAdmission;
use crate::account::lock;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

/// A server without requests in flight and without answers for so long may be as fast as any by now.
const RECENT_SECS: u64 = 10;

impl Gate {
    /// Releases the call now if it need not wait; otherwise returns the permit. `is_head`: it is the head of the queue. `is_wanted`: more
    /// calls would come if the limit grew.
    pub(in crate::account) fn try_enter<'a>(
        &'a self,
        bytes: usize,
        permit: SemaphorePermit<'a>,
        is_head: bool,
        is_wanted: bool,
    ) -> Result<RequestInFlight<'a>, SemaphorePermit<'a>> {
        if self.is_free() {
            return Ok(self.pass(permit, bytes));
        }
        let queue = self.queue.try_lock();
        if !is_head && queue.is_err() {
            return Err(permit);
        }
        self.release(permit, bytes, u64::from(is_wanted))
    }

    /// Whether requests are sent: the server is not away, and the account neither refused nor suspected.
    pub(in crate::account) fn is_open(&self) -> bool {
        self.is_free() || lock(&self.state).health.is_open()
    }

    /// Whether a request would find out now if a server that is away, or an account that is refused, is back.
    pub(in crate::account) fn is_probe_due(&self) -> bool {
        let admission = lock(&self.state).health.admission(Instant::now());
        admission == HealthAdmission::Probe
    }

    /// Requests in flight.
    pub(in crate::account) fn in_flight(&self) -> u64 {
        self.counts.in_flight.load(Ordering::Relaxed)
    }

    /// The median latency of the last answers. `None` before the first, and after a while without calls.
    pub(in crate::account) fn recent_latency(&self) -> Option<Duration> {
        let second = self.second(Instant::now());
        let mut recent = second.saturating_sub(RECENT_SECS)..=second;
        let is_recent =
            self.in_flight() > 0 || recent.any(|second| self.counts.answered_by_second.at(second) > 0);
        let median = self.counts.last_answers.median_ms().filter(|_| is_recent)?;
        Some(Duration::from_millis(median))
    }
}
