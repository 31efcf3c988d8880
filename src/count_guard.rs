//! Counting what exists at the moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts as one until it is dropped.
pub(crate) struct CountGuard<'a>(&'a AtomicU64);

impl<'a> CountGuard<'a> {
    pub(crate) fn new(count: &'a AtomicU64) -> CountGuard<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        CountGuard(count)
    }
}

impl Drop for CountGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
