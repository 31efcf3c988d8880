//! Reads outcomes in pages that fit into memory and into the time of a call, whether they have a hundred
//! bytes or many megabytes.

use super::{RedisStore, reply};
use crate::store::{PAGE_BYTES, Position, StoreError, Stored};
use crate::task::RunId;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Outcomes in the first read of a process, before their sizes are known.
const FIRST: usize = 16;

/// The most outcomes in a read: those that follow small ones may have 256 KiB each.
const MOST: usize = 256;

/// Adapts the read size to the size of outcomes.
pub(super) struct Sizes {
    /// Outcomes to request per read.
    per_read: AtomicUsize,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            per_read: AtomicUsize::new(FIRST),
        }
    }
}

impl Sizes {
    /// How many outcomes to request when a page has that many bytes.
    fn next(&self, bytes: usize) -> usize {
        let left = PAGE_BYTES.saturating_sub(bytes);
        (self.per_read.load(Ordering::Relaxed) * left / PAGE_BYTES).max(1)
    }

    /// Updates the estimate after a read of `read` outcomes with `bytes` in total.
    fn learn(&self, read: usize, bytes: usize) {
        if read > 0 {
            let fit = (PAGE_BYTES * read / bytes.max(1)).clamp(1, (FIRST * read).min(MOST));
            self.per_read.store(fit, Ordering::Relaxed);
        }
    }
}

impl RedisStore {
    /// Returns the existing outcomes after a position, at most `limit`.
    pub(super) async fn page(
        &self,
        run: &RunId,
        mut after: Position,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        while page.len() < limit && bytes < PAGE_BYTES {
            let count = self.sizes.next(bytes).min(limit - page.len());
            let mut range = redis::cmd("XRANGE");
            range
                .arg(self.keys.outcomes(run))
                .arg(format!("{}-0", after.0.saturating_add(1)))
                .arg("+")
                .arg("COUNT")
                .arg(count);
            let reply = self.link.ask(&range).await?;
            let read = self.read(reply, reply::outcomes)?;
            let brought = read.iter().map(|stored| stored.outcome.len()).sum();
            self.sizes.learn(read.len(), brought);
            bytes += brought;
            let is_last = read.len() < count;
            if let Some(last) = read.last() {
                after = last.position;
            }
            page.extend(read);
            if is_last {
                break;
            }
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learn_requests_fewer_big_outcomes_and_more_small_ones() {
        let sizes = Sizes::default();
        for (read, bytes, next) in [
            (16, 16 * 100, 256),
            (256, 256 * 100, MOST),
            (256, 256 * 250_000, PAGE_BYTES / 250_000),
            (16, 16 * PAGE_BYTES * 3, 1),
            (1, 1_000, 16),
            (0, 0, 16),
            (3, 0, 48),
        ] {
            sizes.learn(read, bytes);
            assert_eq!(sizes.next(0), next, "after {read} of {bytes} bytes");
        }
        assert_eq!(sizes.next(PAGE_BYTES / 2), 24);
        assert_eq!(sizes.next(PAGE_BYTES - 1), 1);
    }
}
