//! What one task holds of the memory budget.

use super::{Granted, MemoryBudget, MemorySize};
use crate::lock::lock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// The share of one task; it is returned when this is dropped. The task changes it from one place at a time.
#[derive(Debug)]
pub struct MemoryShare {
    budget: Arc<MemoryBudget>,
    /// What the task was granted in all.
    kib: AtomicUsize,
    /// Whether it has the turn. What it holds is then in addition to the budget.
    has_turn: AtomicBool,
    /// Set before `waits` changes for the first time: most tasks never wait.
    has_waited: AtomicBool,
    waits: Mutex<MemoryWaits>,
}

#[derive(Clone, Copy, Debug, Default)]
struct MemoryWaits {
    /// The time of the waits that have ended.
    ended: Duration,
    /// When the present one began.
    began: Option<Instant>,
}

impl MemoryShare {
    /// A share of nothing.
    pub fn new(budget: &Arc<MemoryBudget>) -> MemoryShare {
        MemoryShare {
            budget: Arc::clone(budget),
            kib: AtomicUsize::new(0),
            has_turn: AtomicBool::new(false),
            has_waited: AtomicBool::new(false),
            waits: Mutex::default(),
        }
    }

    /// A share of a budget that nothing else uses, for calls outside of a worker.
    pub fn unlimited() -> MemoryShare {
        MemoryShare::new(&Arc::new(MemoryBudget::new(MemorySize::MOST)))
    }

    /// The bytes that it holds.
    pub fn held(&self) -> usize {
        self.kib.load(Relaxed) << 10
    }

    /// Enlarges the share to at least that many bytes; returns when they may be used. Cancel safe.
    pub async fn reach(&self, bytes: usize) {
        let held = self.kib.load(Relaxed);
        let more = bytes.div_ceil(1 << 10).saturating_sub(held);
        if more == 0 {
            return;
        }
        if !self.has_turn.load(Relaxed) && !self.budget.try_take(more) {
            let _waiting = MemoryWait::new(self);
            if self.budget.wait_for(more).await == Granted::Turn {
                self.has_turn.store(true, Relaxed);
                // What it held is in addition to the budget now, and can be used by the others.
                self.budget.free.add_permits(held);
            }
        }
        self.kib.store(held + more, Relaxed);
    }

    /// Enlarges the share by that many bytes; returns when they may be used. Cancel safe.
    pub async fn take(&self, bytes: usize) {
        self.reach(self.held().saturating_add(bytes)).await;
    }

    /// Returns what exceeds that many bytes. The turn goes on to the next task if the rest fits into the budget.
    pub fn shrink_to(&self, bytes: usize) {
        let held = self.kib.load(Relaxed);
        let kept = bytes.div_ceil(1 << 10).min(held);
        if !self.has_turn.load(Relaxed) {
            if kept < held {
                self.budget.free.add_permits(held - kept);
            }
        } else if kept == 0 || self.budget.try_take(kept) {
            self.has_turn.store(false, Relaxed);
            self.budget.turn.add_permits(1);
        }
        self.kib.store(kept, Relaxed);
    }

    /// Marks what it holds now: what it takes later is returned with the mark, unless it is kept.
    pub fn mark(&self) -> MemoryMark<'_> {
        MemoryMark {
            share: self,
            held: self.held(),
        }
    }

    /// [`MemoryBudget::work_on`] of its budget.
    pub async fn work_on<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        self.budget.work_on(bytes, work).await
    }

    /// Whether the task waits for memory now.
    pub fn is_waiting(&self) -> bool {
        self.has_waited.load(Relaxed) && lock(&self.waits).began.is_some()
    }

    /// How long the task has waited for memory in all, the present wait included. This time is no fault of a server.
    pub fn waited(&self) -> Duration {
        if !self.has_waited.load(Relaxed) {
            return Duration::ZERO;
        }
        let waits = lock(&self.waits);
        waits.ended + waits.began.map_or(Duration::ZERO, |began| began.elapsed())
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// What a share held at one time.
#[must_use = "what is taken after the mark is returned when the mark is dropped"]
pub struct MemoryMark<'a> {
    share: &'a MemoryShare,
    held: usize,
}

impl MemoryMark<'_> {
    /// What was taken since stays taken.
    pub fn keep(mut self) {
        self.held = usize::MAX;
    }
}

impl Drop for MemoryMark<'_> {
    fn drop(&mut self) {
        if self.held < self.share.held() {
            self.share.shrink_to(self.held);
        }
    }
}

/// A wait, until it is dropped.
struct MemoryWait<'a>(&'a MemoryShare);

impl MemoryWait<'_> {
    fn new(share: &MemoryShare) -> MemoryWait<'_> {
        share.has_waited.store(true, Relaxed);
        lock(&share.waits).began = Some(Instant::now());
        MemoryWait(share)
    }
}

impl Drop for MemoryWait<'_> {
    fn drop(&mut self) {
        let mut waits = lock(&self.0.waits);
        if let Some(began) = waits.began.take() {
            waits.ended += began.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    const MIB: usize = 1 << 20;

    fn budget() -> Arc<MemoryBudget> {
        Arc::new(MemoryBudget::new("16M".parse().expect("a size")))
    }

    /// Whether the share can grow now.
    fn grows(share: &MemoryShare, bytes: usize) -> bool {
        share.take(bytes).now_or_never().is_some()
    }

    #[test]
    fn tasks_share_the_budget_and_one_of_them_may_exceed_it() {
        let budget = budget();
        let shares: Vec<MemoryShare> = (0..4).map(|_| MemoryShare::new(&budget)).collect();
        assert!(shares.iter().all(|share| grows(share, 4 * MIB)));
        // The first that needs more gets the turn, and its part of the budget is free for others.
        assert!(grows(&shares[0], 40 * MIB));
        assert_eq!(shares[0].held(), 44 * MIB);
        assert!(grows(&shares[1], 4 * MIB));
        assert!(!grows(&shares[2], 1));
        shares[0].shrink_to(0);
        assert!(grows(&shares[2], 40 * MIB));
        assert!(!grows(&shares[0], 40 * MIB));
    }

    #[test]
    fn dropped_share_returns_its_memory_and_its_turn() {
        let budget = budget();
        for _ in 0..3 {
            let (one, other) = (MemoryShare::new(&budget), MemoryShare::new(&budget));
            assert!(grows(&one, 16 * MIB) && grows(&other, 100 * MIB));
            assert!(!grows(&MemoryShare::new(&budget), 1));
        }
        assert_eq!(budget.free.available_permits(), 16 << 10);
        assert_eq!(budget.turn.available_permits(), 1);
    }

    #[test]
    fn turn_is_returned_as_soon_as_the_rest_fits() {
        let budget = budget();
        let share = MemoryShare::new(&budget);
        assert!(grows(&share, 100 * MIB));
        share.shrink_to(2 * MIB);
        assert_eq!(budget.turn.available_permits(), 1);
        assert_eq!(budget.free.available_permits(), 14 << 10);
    }

    #[test]
    fn mark_returns_what_was_taken_since_unless_it_is_kept() {
        let budget = budget();
        let share = MemoryShare::new(&budget);
        assert!(grows(&share, MIB));
        let mark = share.mark();
        assert!(grows(&share, 40 * MIB));
        drop(mark);
        assert_eq!(share.held(), MIB);
        assert_eq!(budget.free.available_permits(), 15 << 10);
        let mark = share.mark();
        assert!(grows(&share, MIB));
        mark.keep();
        assert_eq!(share.held(), 2 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn wait_for_memory_is_measured_and_ends_with_a_share() {
        let budget = budget();
        let (full, waiting) = (MemoryShare::new(&budget), MemoryShare::new(&budget));
        let turn = MemoryShare::new(&budget);
        full.take(16 * MIB).await;
        turn.take(MIB).await;
        assert_eq!(waiting.waited(), Duration::ZERO);
        let free = async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(waiting.waited(), Duration::from_secs(3));
            drop(full);
        };
        tokio::join!(waiting.take(MIB), free);
        assert_eq!(waiting.waited(), Duration::from_secs(3));
    }

    /// Tasks that grow step by step, as answers arrive, and hold what they have between the steps.
    #[tokio::test]
    async fn tasks_that_all_need_more_than_the_budget_end() {
        let budget = budget();
        let (now, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let task = async |number: usize| {
            let share = MemoryShare::new(&budget);
            for _ in 0..40 + number {
                share.take(MIB).await;
                peak.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                tokio::task::yield_now().await;
            }
            now.fetch_sub(40 + number, Relaxed);
        };
        futures_util::future::join_all((0..20).map(task)).await;
        // The budget and one task, each with what is counted before it is returned.
        let peak = peak.load(Relaxed);
        assert!((40..=16 + 60).contains(&peak), "{peak} MiB");
        assert_eq!(budget.free.available_permits(), 16 << 10);
    }
}
