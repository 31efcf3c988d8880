//! The endpoints of an LM, and the choice of one for each call.
//!
//! A call goes to the ready endpoint with the shortest expected time to an answer. If none is ready, the call waits at all gates and takes
//! the first that lets it through. An endpoint that is away or refused gets one call at a time as a probe; other calls avoid it.

use super::gate::{Gate, HandedBack, Head, RequestInFlight, RunQueue, permit};
use crate::lm::Lm;
use crate::shutdown::Shutdown;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// The interval after which a call that waits at other gates tries a closed account again.
const CLOSED_AGAIN: Duration = Duration::from_secs(5);

/// One server of an LM and its gate.
pub(super) struct Endpoint {
    pub(super) lm: Arc<dyn Lm>,
    pub(super) gate: Arc<Gate>,
    /// The name of the endpoint in recorded answers; `None` if it is the only one.
    pub(super) label: Option<Arc<str>>,
    /// The calls of the run that wait at the gate.
    queue: RunQueue,
    /// Whether a call is probing the endpoint.
    is_probed: AtomicBool,
    /// Notified when `is_probed` changes.
    probes: Notify,
    /// Whether the endpoint has turned a call away since it last took one. If so, a higher limit would bring it more calls.
    is_wanted: AtomicBool,
}

/// The endpoints of an LM, at least one.
pub(super) struct Endpoints(Box<[Endpoint]>);

/// A call that an endpoint has taken.
pub(super) struct Entered<'a> {
    pub(super) number: usize,
    pub(super) endpoint: &'a Endpoint,
    pub(super) in_flight: RequestInFlight<'a>,
    /// Held while the request is in flight, if the call is a probe.
    pub(super) probe: Option<Probe<'a>>,
}

/// An endpoint at which a call has failed, and the time until which the call avoids it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBack {
    pub(super) number: usize,
    pub(super) until: Instant,
}

/// Marks the endpoint as probed until it is dropped.
pub(super) struct Probe<'a>(&'a Endpoint);

impl Endpoints {
    /// `labels` has one name per endpoint.
    pub(super) fn new(endpoints: Vec<(Arc<dyn Lm>, Arc<Gate>)>, labels: Vec<String>) -> Endpoints {
        let are_several = endpoints.len() > 1;
        let endpoint = |((lm, gate), label): ((Arc<dyn Lm>, Arc<Gate>), String)| Endpoint {
            lm,
            gate,
            label: are_several.then(|| label.into()),
            queue: RunQueue::default(),
            is_probed: AtomicBool::new(false),
            probes: Notify::new(),
            is_wanted: AtomicBool::new(false),
        };
        Endpoints(endpoints.into_iter().zip(labels).map(endpoint).collect())
    }

    pub(super) fn all(&self) -> &[Endpoint] {
        &self.0
    }

    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.0.iter().map(|endpoint| endpoint.gate.as_ref())
    }

    pub(super) fn are_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether another endpoint than `number` takes calls now.
    pub(super) fn has_other(&self, number: usize, held_back: &[HeldBack]) -> bool {
        let now = Instant::now();
        let mut others = self.0.iter().enumerate().filter(|(other, _)| *other != number);
        others.any(|(other, endpoint)| endpoint.gate.is_open() && until(held_back, other, now).is_none())
    }

    /// Waits until an endpoint takes a request of `bytes` bytes, and for a permit. A call that waits at gates holds no permit.
    ///
    /// Cancel safe, as [`Gate::enter`] is.
    pub(super) async fn enter<'a>(
        &'a self,
        held_back: &[HeldBack],
        bytes: usize,
        permits: &'a Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Entered<'a>, HandedBack> {
        if let [endpoint] = &*self.0 {
            let in_flight = endpoint
                .gate
                .enter(&endpoint.queue, bytes, permits, shutdown)
                .await?;
            return Ok(Entered {
                number: 0,
                endpoint,
                in_flight,
                probe: None,
            });
        }
        match self.take_ready(held_back, bytes, permit(permits).await, &[]) {
            Some(entered) => Ok(entered),
            None => Box::pin(self.first_to_let_in(held_back, bytes, permits, shutdown)).await,
        }
    }

    /// Enters the best endpoint that is ready now. `heads` are the queues at whose head the call is.
    fn take_ready<'a>(
        &'a self,
        held_back: &[HeldBack],
        bytes: usize,
        mut permit: SemaphorePermit<'a>,
        heads: &[(usize, Head<'a>)],
    ) -> Option<Entered<'a>> {
        for number in self.by_expected_time(held_back) {
            let endpoint = &self.0[number];
            let is_head = heads.iter().any(|(head, _)| *head == number);
            match endpoint.try_enter(bytes, permit, is_head) {
                Ok(in_flight) => {
                    return Some(Entered {
                        number,
                        endpoint,
                        in_flight,
                        probe: endpoint.probe(),
                    });
                }
                Err(unused) => permit = unused,
            }
        }
        None
    }

    /// The endpoints that may be ready: first those that are due for a probe, then the others by their expected time to an answer.
    fn by_expected_time(&self, held_back: &[HeldBack]) -> Vec<usize> {
        let now = Instant::now();
        let latencies: Vec<Option<f64>> = self.0.iter().map(Endpoint::latency).collect();
        let least = latencies.iter().flatten().copied().min_by(f64::total_cmp);
        let endpoints = self.0.iter().zip(latencies).enumerate();
        let mut expected: Vec<(f64, usize)> = endpoints
            .filter(|(number, _)| until(held_back, *number, now).is_none())
            .filter_map(|(number, (endpoint, latency))| {
                if endpoint.gate.is_open() {
                    // An endpoint whose latency is unknown is assumed to be as fast as the fastest.
                    let latency = latency.or(least).unwrap_or(1.0).max(1.0);
                    let before = endpoint.gate.in_flight() as f64;
                    Some(((before + 1.0) * latency, number))
                } else {
                    let is_due = endpoint.gate.is_probe_due() && !endpoint.is_left_alone();
                    is_due.then_some((0.0, number))
                }
            })
            .collect();
        expected.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        expected.into_iter().map(|(_, number)| number).collect()
    }

    /// Waits at all gates until one lets the call through, then enters the best endpoint, which may be another one.
    async fn first_to_let_in<'a>(
        &'a self,
        held_back: &[HeldBack],
        bytes: usize,
        permits: &'a Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Entered<'a>, HandedBack> {
        let now = Instant::now();
        let wait = async |number: usize, from: Option<Instant>| {
            let head = self.0[number].head(from, bytes, permits, shutdown).await;
            (number, head)
        };
        let mut waits = FuturesUnordered::new();
        for number in 0..self.0.len() {
            waits.push(wait(number, until(held_back, number, now)));
        }
        let mut handed_back = vec![None; self.0.len()];
        while let Some(first) = waits.next().await {
            let mut heads = Vec::new();
            let mut next = Some(first);
            while let Some((number, head)) = next {
                handed_back[number] = head.as_ref().err().copied();
                match head {
                    Ok(head) => heads.push((number, head)),
                    Err(HandedBack::Closed) => {
                        waits.push(wait(number, Some(Instant::now() + CLOSED_AGAIN)));
                    }
                    // Another endpoint may let it through without a wait.
                    Err(HandedBack::Draining) => {}
                }
                next = waits.next().now_or_never().flatten();
            }
            if heads.is_empty() {
                if handed_back.iter().all(Option::is_some) {
                    break;
                }
                continue;
            }
            // In a drain, too: a call that an endpoint lets through is made.
            let permit = permit(permits).await;
            if let Some(entered) = self.take_ready(held_back, bytes, permit, &heads) {
                return Ok(entered);
            }
            for (number, head) in heads {
                drop(head);
                waits.push(wait(number, None));
            }
        }
        Err(if handed_back.contains(&Some(HandedBack::Draining)) {
            HandedBack::Draining
        } else {
            HandedBack::Closed
        })
    }
}

impl Endpoint {
    /// Waits at the gate of this endpoint, starting at `from`. Leaves the queue while another call probes the server.
    async fn head(
        &self,
        from: Option<Instant>,
        bytes: usize,
        permits: &Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Head<'_>, HandedBack> {
        if let Some(from) = from {
            tokio::select! {
                biased;
                () = shutdown.draining() => return Err(HandedBack::Draining),
                () = sleep_until(from) => {}
            }
        }
        loop {
            let mut changed = std::pin::pin!(self.probes.notified());
            changed.as_mut().enable();
            if self.is_left_alone() {
                tokio::select! {
                    biased;
                    () = shutdown.draining() => return Err(HandedBack::Draining),
                    () = changed => continue,
                }
            }
            tokio::select! {
                biased;
                head = self.gate.head(&self.queue, bytes, permits, shutdown) => return head,
                () = changed => {}
            }
        }
    }

    fn try_enter<'a>(
        &'a self,
        bytes: usize,
        permit: SemaphorePermit<'a>,
        is_head: bool,
    ) -> Result<RequestInFlight<'a>, SemaphorePermit<'a>> {
        let is_wanted = self.is_wanted.load(Ordering::Relaxed);
        let entered = self.gate.try_enter(bytes, permit, is_head, is_wanted);
        if entered.is_ok() == is_wanted {
            self.is_wanted.store(!is_wanted, Ordering::Relaxed);
        }
        entered
    }

    /// The latency in milliseconds. `None` if it is unknown, or too old because the endpoint has been idle.
    fn latency(&self) -> Option<f64> {
        let latency = self.gate.recent_latency()?;
        Some(latency.as_secs_f64() * 1000.0)
    }

    /// Marks the endpoint as probed if it does not take calls.
    fn probe(&self) -> Option<Probe<'_>> {
        if self.gate.is_open() || self.is_probed.swap(true, Ordering::AcqRel) {
            return None;
        }
        self.probes.notify_waiters();
        Some(Probe(self))
    }

    /// Whether the endpoint does not take calls and another call is probing it.
    fn is_left_alone(&self) -> bool {
        self.is_probed.load(Ordering::Acquire) && !self.gate.is_open()
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        let Probe(endpoint) = self;
        endpoint.is_probed.store(false, Ordering::Release);
        endpoint.probes.notify_waiters();
    }
}

/// The time until which the call avoids the endpoint `number`; `None` if that time has passed.
fn until(held_back: &[HeldBack], number: usize, now: Instant) -> Option<Instant> {
    let held_back = held_back.iter().rfind(|held_back| held_back.number == number);
    held_back
        .map(|held_back| held_back.until)
        .filter(|until| *until > now)
}
