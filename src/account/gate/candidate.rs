//! A gate as one of several that may take a call: the facts for the choice, and entering without a wait.

use super::{Gate, RequestInFlight};
use crate::account::health::HealthAdmission;
use crate::lock::lock;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

/// The time, in seconds without requests in flight or answers, after which the latency of a server is no longer known.
const RECENT_SECS: u64 = 10;

impl Gate {
    /// Releases the call if it need not wait; otherwise returns the permit. `is_head`: the call is the head of the queue. `is_wanted`: a
    /// higher limit would bring more calls.
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

    /// Whether requests are sent: the server is not away, and the account is neither closed nor suspected.
    pub(in crate::account) fn is_open(&self) -> bool {
        self.is_free() || lock(&self.state).health.is_open()
    }

    /// Whether a probe is due, of a server that is away or of a closed or suspected account.
    pub(in crate::account) fn is_probe_due(&self) -> bool {
        let admission = lock(&self.state).health.admission(Instant::now());
        admission == HealthAdmission::Probe
    }

    /// Requests in flight.
    pub(in crate::account) fn in_flight(&self) -> u64 {
        self.counts.in_flight.load(Ordering::Relaxed)
    }

    /// The median latency of the last answers. `None` before the first answer, and after [`RECENT_SECS`] without calls.
    pub(in crate::account) fn recent_latency(&self) -> Option<Duration> {
        let second = self.second(Instant::now());
        let mut recent = second.saturating_sub(RECENT_SECS)..=second;
        let is_recent =
            self.in_flight() > 0 || recent.any(|second| self.counts.answered_by_second.at(second) > 0);
        let median = self.counts.last_answers.median_ms().filter(|_| is_recent)?;
        Some(Duration::from_millis(median))
    }
}
