//! A call through a gate. It is sent again after any failure that is not its own, until it is answered or its example has failed.

use super::endpoints::{Endpoints, Entered, HeldBack};
use super::gate::{Gate, HandedBack, Lateness, RefusalScope, Suspicion};
use super::health::CONFIRMED_BY_OTHERS;
use crate::calls_in_flight::CallMark;
use crate::http::retry;
use crate::lm::{
    ClosedAccount, DEFAULT_RETRIES, Lm, LmError, LmRequest, LmResponse, LmSettings, Reply, Verdict,
};
use crate::memory::MemoryShare;
use crate::metrics::LmMetrics;
use crate::shutdown::Shutdown;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// The number of consecutive refusals with a wait of zero that are retried at once. A further one counts as an ordinary rate limit.
const AT_ONCE: u32 = 3;

/// How often a call is sent again after another call has shown that the account is accepted.
const ASKED_AGAIN: u32 = 1;

/// How often a call may be late because the server is saturated. Further late answers count as failures of the call.
const OVERLOADS: u32 = 10;

/// The longest pause of a call after its first server failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The status by which a server reports that this request made it fail. Servers that are away or overloaded send 502, 503 or 504.
const INTERNAL_ERROR: u16 = 500;

/// How long a call without other calls is retried after status 500 before it fails. A restart that returns 500 takes less time.
const ALONE: Duration = Duration::from_secs(30);

/// An LM of a job: its endpoints, each behind its gate.
pub struct GatedLm {
    name: String,
    endpoints: Endpoints,
    /// How often a call may fail on the server's side while other calls are answered.
    retries: u32,
    timeout: Duration,
    min_timeout: Duration,
    max_tokens: Option<u64>,
    metrics: LmMetrics,
}

/// An answer and its latency.
#[derive(Debug)]
pub struct GatedAnswer {
    pub answer: LmResponse,
    /// The time from sending the answered request to the answer; `None` for a simulated LM.
    pub latency: Option<Duration>,
    /// The endpoint that answered; `None` if the LM has only one.
    pub endpoint: Option<Arc<str>>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The request failed for a reason that belongs to its example.
    #[error(transparent)]
    Failed(LmError),
    /// The account is closed or the process is draining: the call has to be made again later.
    #[error("the call was handed back")]
    HandedBack,
}

impl From<HandedBack> for GateError {
    fn from(_: HandedBack) -> GateError {
        GateError::HandedBack
    }
}

/// The tries of one call.
struct Tries {
    made: u32,
    /// Failures that count against the call itself, as far as the other answers show.
    own: u32,
    /// The tries at the first endpoint, then at each further one.
    first: TriesAt,
    others: Vec<TriesAt>,
    /// Endpoints that the call avoids for a while, if there are several.
    held_back: Vec<HeldBack>,
    /// Requests given up before the LM's own timeout.
    given_up: u32,
    is_given_up: bool,
    /// Late answers while the server was saturated.
    overloads: u32,
    /// Consecutive refusals with a wait of zero.
    at_once: u32,
    /// The suspicion that this call raised: the endpoint, and the era of its gate.
    suspicion: Option<(usize, u64)>,
    /// How often another call has refuted that suspicion.
    unfounded: u32,
    /// The time since which the call got nothing but status 500, with no other call at the gates.
    alone_since: Option<Instant>,
}

/// The tries of one call at one endpoint.
struct TriesAt {
    /// The number of answers to other calls at the last failure.
    answers: u64,
    /// Failures of this call since then.
    since_answers: u32,
}

impl TriesAt {
    fn new(gate: &Gate) -> TriesAt {
        TriesAt {
            answers: gate.answered(),
            since_answers: 0,
        }
    }
}

impl GatedLm {
    /// `endpoints` has at least one element, each with its gate.
    pub fn new(
        endpoints: Vec<(Arc<dyn Lm>, Arc<Gate>)>,
        settings: &LmSettings,
        metrics: LmMetrics,
    ) -> GatedLm {
        GatedLm {
            name: settings.name.clone(),
            endpoints: Endpoints::new(endpoints, settings.endpoint_labels()),
            retries: settings.num_retries.unwrap_or(DEFAULT_RETRIES),
            timeout: settings.timeout(),
            min_timeout: settings.min_timeout(),
            max_tokens: settings.max_tokens,
            metrics,
        }
    }

    /// Whether the LM is simulated, without a server.
    pub fn is_simulated(&self) -> bool {
        self.endpoints.gates().all(Gate::is_simulated)
    }

    /// Records that an earlier process of the run got answers. A refusal of a single call then need not concern the account.
    pub fn accepted_before(&self) {
        self.endpoints.gates().for_each(Gate::accepted_before);
    }

    /// Completes a request, with a permit for each try. Waits as long as the account requires. `mark` is set while a request is in flight
    /// and while its answer is not recorded. `lost_answers` counts the tries that the server may have answered although no answer arrived.
    ///
    /// # Errors
    ///
    /// [`GateError::Failed`] if the request itself failed, [`GateError::HandedBack`] if the account is closed or if a drain began while the
    /// call waited.
    pub async fn complete(
        &self,
        request: LmRequest<'_>,
        permits: &Semaphore,
        shutdown: &Shutdown,
        mut mark: Option<&mut CallMark<'_>>,
        lost_answers: &mut u32,
    ) -> Result<GatedAnswer, GateError> {
        let endpoints = &self.endpoints;
        let mut tries = Tries::new(endpoints);
        loop {
            let bytes = request.body.len();
            let entered = endpoints
                .enter(&tries.held_back, bytes, permits, shutdown)
                .await?;
            let Entered {
                number,
                endpoint,
                mut in_flight,
                mut probe,
            } = entered;
            let gate = &endpoint.gate;
            if tries.made > 0 {
                self.metrics.retried();
            }
            tries.made += 1;
            if let Some(mark) = &mut mark {
                mark.sent(request.body);
            }
            let mut replying = endpoint.lm.complete(request);
            let reply = tokio::select! {
                biased;
                reply = poll_fn(|cx| {
                    let polled = replying.as_mut().poll(cx);
                    if polled.is_pending() && request.memory.is_waiting() {
                        in_flight.set_aside();
                        probe = None;
                    }
                    polled
                }) => reply,
                waited = self.overdue(gate, tries.given_up, request.memory) => tries.give_up(waited),
            };
            // A request that was given up ends here.
            drop(replying);
            let hints = reply.hints;
            let is_answered = matches!(reply.verdict, Verdict::Answer(_));
            if let Some(mark) = mark.as_mut().filter(|_| !is_answered) {
                mark.ended();
            }
            match reply.verdict {
                Verdict::Answer(answer) => {
                    let latency = in_flight.answered(answer.usage, &hints);
                    let latency = (!gate.is_simulated()).then_some(latency);
                    let endpoint = endpoint.label.clone();
                    return Ok(GatedAnswer {
                        answer,
                        latency,
                        endpoint,
                    });
                }
                Verdict::Failed(error) => {
                    in_flight.failed(&hints);
                    return Err(GateError::Failed(error));
                }
                Verdict::Throttled { message, wait } => {
                    let wait = tries.throttled(wait);
                    self.log(&tries, wait, &message);
                    in_flight.throttled(&message, wait, &hints);
                }
                Verdict::Late { message, wait } => {
                    *lost_answers += 1;
                    let lateness = in_flight.late(&message);
                    tries.late(lateness, number, endpoints);
                    let pause = self.pause(&tries, message, wait)?;
                    Box::pin(tries.rest(number, pause, endpoints, shutdown)).await?;
                }
                Verdict::Away {
                    status,
                    is_answer_lost,
                    message,
                    wait,
                } => {
                    *lost_answers += u32::from(is_answer_lost);
                    in_flight.away(&message);
                    tries.away(number, status, endpoints);
                    let pause = self.pause(&tries, message, wait)?;
                    Box::pin(tries.rest(number, pause, endpoints, shutdown)).await?;
                }
                Verdict::Closed(account) => {
                    match in_flight.refused(&account, tries.suspicion_at(number), tries.unfounded > 0) {
                        RefusalScope::Account if endpoints.are_several() => {}
                        RefusalScope::Account => return Err(GateError::HandedBack),
                        RefusalScope::Request => return Err(self.refused(account)),
                        // Another call resolves the suspicion.
                        RefusalScope::Pending(_) if endpoints.has_other(number, &tries.held_back) => {
                            tries.hold_back(number, CONFIRMED_BY_OTHERS);
                        }
                        RefusalScope::Pending(era) => {
                            // Another call may resolve the suspicion.
                            drop(probe);
                            match Box::pin(gate.resolved(era, shutdown)).await {
                                Ok(Suspicion::Unconfirmed) => tries.suspicion = Some((number, era)),
                                Ok(Suspicion::Unfounded) if tries.unfounded >= ASKED_AGAIN => {
                                    return Err(self.refused(account));
                                }
                                Ok(Suspicion::Unfounded) => tries.unfounded += 1,
                                Err(HandedBack::Closed) if endpoints.are_several() => {}
                                Err(handed_back) => return Err(handed_back.into()),
                            }
                        }
                    }
                }
            }
        }
    }

    /// Returns when a request exceeds the timeout that was learnt from the last answers, with the time since it was sent. Answers that
    /// arrive meanwhile change the timeout. The time does not count in which the answer waits for memory here.
    async fn overdue(&self, gate: &Gate, given_up: u32, memory: &MemoryShare) -> Duration {
        if gate.is_simulated() || self.timeout <= self.min_timeout {
            return std::future::pending().await;
        }
        let (sent, held_up_before) = (Instant::now(), memory.waited());
        let mut waited = self.min_timeout;
        loop {
            let end = sent + waited + (memory.waited() - held_up_before);
            if Instant::now() < end {
                sleep_until(end).await;
                continue;
            }
            let learnt = gate.learnt_timeout(self.max_tokens, self.min_timeout, given_up);
            match learnt.filter(|learnt| *learnt < self.timeout) {
                Some(learnt) if learnt <= waited => return waited,
                Some(learnt) => waited = learnt.min(waited + self.min_timeout),
                // The HTTP client enforces the LM's own timeout.
                None => waited += self.min_timeout,
            }
        }
    }

    /// Returns the pause before the next try at the same server.
    ///
    /// # Errors
    ///
    /// [`GateError::Failed`] if the call has failed too often while other calls were answered.
    fn pause(&self, tries: &Tries, message: String, wait: Option<Duration>) -> Result<Duration, GateError> {
        if tries.own > self.retries || tries.was_long_alone() {
            return Err(GateError::Failed(LmError::Unavailable {
                lm: self.name.clone(),
                attempts: tries.made,
                message,
            }));
        }
        let pause = wait.unwrap_or_else(|| retry::backoff(FIRST_PAUSE, tries.own.max(1)));
        self.log(tries, Some(pause), &message);
        Ok(pause)
    }

    fn refused(&self, account: ClosedAccount) -> GateError {
        GateError::Failed(LmError::Refused {
            lm: self.name.clone(),
            status: account.status,
            message: account.message,
        })
    }

    fn log(&self, tries: &Tries, wait: Option<Duration>, why: &str) {
        tracing::debug!(
            lm = self.name,
            attempts = tries.made,
            ?wait,
            why,
            "retrying LM request"
        );
    }
}

impl Tries {
    fn new(endpoints: &Endpoints) -> Tries {
        let mut all = endpoints.gates().map(TriesAt::new);
        let first = all.next().unwrap_or(TriesAt {
            answers: 0,
            since_answers: 0,
        });
        Tries {
            made: 0,
            own: 0,
            first,
            others: all.collect(),
            held_back: Vec::new(),
            given_up: 0,
            is_given_up: false,
            overloads: 0,
            at_once: 0,
            suspicion: None,
            unfounded: 0,
            alone_since: None,
        }
    }

    /// Returns the wait to apply. After [`AT_ONCE`] consecutive waits of zero a further one is ignored.
    fn throttled(&mut self, wait: Option<Duration>) -> Option<Duration> {
        if wait != Some(Duration::ZERO) {
            self.at_once = 0;
            return wait;
        }
        self.at_once += 1;
        wait.filter(|_| self.at_once <= AT_ONCE)
    }

    /// Pauses before the next try at this endpoint. If there are several, the call avoids this one meanwhile.
    async fn rest(
        &mut self,
        number: usize,
        pause: Duration,
        endpoints: &Endpoints,
        shutdown: &Shutdown,
    ) -> Result<(), GateError> {
        if endpoints.are_several() {
            self.hold_back(number, pause);
        } else if !pause.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.draining() => return Err(GateError::HandedBack),
            }
        }
        Ok(())
    }

    /// Gives up a request that exceeds the learnt timeout.
    fn give_up(&mut self, waited: Duration) -> Reply {
        self.given_up += 1;
        self.is_given_up = true;
        let message = format!("no answer in {} s", waited.as_secs());
        Verdict::Late { message, wait: None }.into()
    }

    /// Counts a late answer. It counts against the call if the LM's own timeout has passed and the server is not saturated.
    fn late(&mut self, lateness: Lateness, number: usize, endpoints: &Endpoints) {
        let is_given_up = std::mem::take(&mut self.is_given_up);
        if lateness == Lateness::Overload {
            self.overloads += 1;
        }
        let is_overload = lateness == Lateness::Overload && self.overloads <= OVERLOADS;
        if !is_given_up && !is_overload {
            self.away(number, None, endpoints);
        }
    }

    /// Counts a server failure. It counts against the call if other calls were answered there since its last failure. It also does if they
    /// were answered once and the call now fails with no other call at the gates.
    fn away(&mut self, number: usize, status: Option<u16>, endpoints: &Endpoints) {
        let gate = &endpoints.all()[number].gate;
        let is_alone = endpoints.gates().all(Gate::is_idle);
        self.alone_since = if status == Some(INTERNAL_ERROR) && is_alone {
            self.alone_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
        let at = match number {
            0 => &mut self.first,
            number => &mut self.others[number - 1],
        };
        let answers = gate.answered();
        if answers > at.answers {
            at.answers = answers;
            at.since_answers = 0;
            self.own += 1;
        } else if self.own > 0 && is_alone && gate.failures_in_row() <= at.since_answers + 1 {
            self.own += 1;
        }
        at.since_answers += 1;
    }

    fn suspicion_at(&self, number: usize) -> Option<u64> {
        let own = self.suspicion.filter(|(at, _)| *at == number);
        own.map(|(_, era)| era)
    }

    /// Avoids the endpoint `number` for the duration `pause`.
    fn hold_back(&mut self, number: usize, pause: Duration) {
        let until = Instant::now() + pause;
        self.held_back.retain(|held_back| held_back.number != number);
        self.held_back.push(HeldBack { number, until });
    }

    /// Whether the call alone got status 500 for [`ALONE`]. Such a server is running, so the status concerns this call.
    fn was_long_alone(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() >= ALONE)
    }
}
