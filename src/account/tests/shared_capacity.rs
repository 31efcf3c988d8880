//! A capacity that all requests in flight share, as on a GPU, on the paused clock of the tests.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// The most answers per second.
    pub(super) per_sec: f64,
    /// The latency of a request alone.
    pub(super) base: Duration,
    /// Requests in flight above which the capacity shrinks.
    pub(super) thrashes_from: f64,
}

/// Processor sharing of equal requests.
pub(super) struct SharedProcessor {
    work: Mutex<Work>,
    changed: Notify,
}

struct Work {
    capacity: Capacity,
    in_flight: usize,
    /// The work that each request has received since the start; an answer takes one unit.
    progress: f64,
    advanced: Instant,
}

impl SharedProcessor {
    pub(super) fn new(capacity: Capacity) -> SharedProcessor {
        let work = Work {
            capacity,
            in_flight: 0,
            progress: 0.0,
            advanced: Instant::now(),
        };
        SharedProcessor {
            work: Mutex::new(work),
            changed: Notify::new(),
        }
    }

    /// Changes the capacity to `per_sec` answers per second.
    pub(super) fn slow_down(&self, per_sec: f64) {
        self.change(|work| work.capacity.per_sec = per_sec);
    }

    /// Returns after the latency of one request.
    pub(super) async fn work(&self) {
        let _place = Place::take(self);
        let end = self.lock().progress + 1.0;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let at = {
                let mut work = self.lock();
                work.advance();
                if work.progress >= end - 1e-9 {
                    return;
                }
                let secs = (end - work.progress) / work.speed();
                // The clock has a resolution of one millisecond.
                Instant::now() + Duration::from_secs_f64(secs).max(Duration::from_millis(1))
            };
            tokio::select! {
                () = sleep_until(at) => {}
                () = changed => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut Work)) {
        let mut work = self.lock();
        work.advance();
        change(&mut work);
        drop(work);
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap()
    }
}

impl Work {
    fn advance(&mut self) {
        if self.in_flight > 0 {
            self.progress += self.advanced.elapsed().as_secs_f64() * self.speed();
        }
        self.advanced = Instant::now();
    }

    /// Work per second for each request.
    fn speed(&self) -> f64 {
        let in_flight = self.in_flight as f64;
        let thrash = (self.capacity.thrashes_from / in_flight).sqrt().min(1.0);
        (self.capacity.per_sec * thrash / in_flight).min(1.0 / self.capacity.base.as_secs_f64())
    }
}

/// A request in flight. Dropping it ends it.
struct Place<'a>(&'a SharedProcessor);

impl<'a> Place<'a> {
    fn take(processor: &'a SharedProcessor) -> Place<'a> {
        processor.change(|work| work.in_flight += 1);
        Place(processor)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.change(|work| work.in_flight -= 1);
    }
}
