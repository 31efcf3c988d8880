//! A call through a gate: sent again for what is not its own fault, until it is answered or its example has failed.

use super::endpoints::{Endpoints, Entered, HeldBack};
use super::gate::{Gate, HandedBack, Lateness, RefusalScope, Suspicion};
use super::health::CONFIRMED_BY_OTHERS;
use super::learnt_timeout;
use crate::calls_in_flight::CallMark;
use crate::http::retry;
use crate::lm::{
    ClosedAccount, DEFAULT_RETRIES, Lm, LmError, LmRequest, LmResponse, LmSettings, Reply, Verdict,
};
use crate::metrics::LmMetrics;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// So often a server may ask a call to try again at once; from then on such an answer limits as others do.
const AT_ONCE: u32 = 3;

/// So often a call asks again after another call has shown that the account is accepted.
const ASKED_AGAIN: u32 = 1;

/// So often a call may be late because the server is saturated; from then on it is the call's own fault.
const OVERLOADS: u32 = 10;

/// The longest pause of a call after its first failure on the server's side, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The status by which a server reports that this request made it fail. Servers that are away or overloaded send 502, 503 or 504.
const INTERNAL_ERROR: u16 = 500;

/// How long a call alone is asked again after 500 before it fails: longer than a restart takes that shows as 500.
const ALONE: Duration = Duration::from_secs(30);

/// An LM of a job: its endpoints, each behind its gate.
pub struct GatedLm {
    name: String,
    endpoints: Endpoints,
    /// How often a call may fail on the server's side while others are answered.
    retries: u32,
    timeout: Duration,
    max_tokens: Option<u64>,
    metrics: LmMetrics,
}

/// An answer, and how long it took.
#[derive(Debug)]
pub struct GatedAnswer {
    pub answer: LmResponse,
    /// From the request that was answered; `None` for a simulated LM.
    pub latency: Option<Duration>,
    /// The endpoint that gave it; `None` if there is only one.
    pub endpoint: Option<Arc<str>>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// It is the example's fault.
    #[error(transparent)]
    Failed(LmError),
    /// The account is refused, or the process stops: the call is to be made another time.
    #[error("the call was handed back")]
    HandedBack,
}

impl From<HandedBack> for GateError {
    fn from(_: HandedBack) -> GateError {
        GateError::HandedBack
    }
}

/// What a call remembers of its tries.
struct Tries {
    made: u32,
    /// Those that are the call's own fault, as far as its answers show.
    own: u32,
    /// What it remembers of the first endpoint, and of each further one.
    first: TriesAt,
    others: Vec<TriesAt>,
    /// Endpoints at which it has failed, where there are several.
    held_back: Vec<HeldBack>,
    /// Given up before the longest time that a request may take.
    given_up: u32,
    is_given_up: bool,
    /// Late because the server was saturated.
    overloads: u32,
    /// Told to try again at once, in a row.
    at_once: u32,
    /// The suspicion that it raised itself: the endpoint, and the era of its gate.
    suspicion: Option<(usize, u64)>,
    /// How often its refusal was shown to be its own.
    unfounded: u32,
    /// Since when the call has got nothing but 500, with no other call at the gate.
    alone_since: Option<Instant>,
}

/// What a call remembers of its tries at one endpoint.
struct TriesAt {
    /// Answers to other calls when it last failed.
    answers: u64,
    /// Its failures since then.
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
    /// `endpoints`: at least one, each with its gate.
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
            max_tokens: settings.max_tokens,
            metrics,
        }
    }

    /// Whether no server answers.
    pub fn is_simulated(&self) -> bool {
        self.endpoints.gates().all(Gate::is_simulated)
    }

    /// An earlier process of the run has got answers: a refusal of a single call need not be the account's.
    pub fn accepted_before(&self) {
        self.endpoints.gates().for_each(Gate::accepted_before);
    }

    /// Completes a request with a permit for each try; waits as long as the account asks for. `mark` shows while a request is in flight,
    /// and that its answer is not recorded yet.
    ///
    /// # Errors
    ///
    /// [`GateError::Failed`] if the request itself is at fault, [`GateError::HandedBack`] if the account is refused or a drain began
    /// while the call waited.
    pub async fn complete(
        &self,
        request: LmRequest<'_>,
        permits: &Semaphore,
        shutdown: &Shutdown,
        mut mark: Option<&mut CallMark<'_>>,
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
                in_flight,
                probe,
            } = entered;
            let gate = &endpoint.gate;
            if tries.made > 0 {
                self.metrics.retried();
            }
            tries.made += 1;
            if let Some(mark) = &mut mark {
                mark.sent(request.body);
            }
            let reply = tokio::select! {
                biased;
                reply = endpoint.lm.complete(request) => reply,
                waited = self.overdue(gate, tries.given_up) => tries.give_up(waited),
            };
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
                    let lateness = in_flight.late(&message);
                    tries.late(lateness, number, endpoints);
                    let pause = self.pause(&tries, message, wait)?;
                    tries.rest(number, pause, endpoints, shutdown).await?;
                }
                Verdict::Away {
                    status,
                    message,
                    wait,
                } => {
                    in_flight.away(&message);
                    tries.away(number, status, endpoints);
                    let pause = self.pause(&tries, message, wait)?;
                    tries.rest(number, pause, endpoints, shutdown).await?;
                }
                Verdict::Closed(account) => {
                    match in_flight.refused(&account, tries.suspicion_at(number), tries.unfounded > 0) {
                        RefusalScope::Account if endpoints.are_several() => {}
                        RefusalScope::Account => return Err(GateError::HandedBack),
                        RefusalScope::Request => return Err(self.refused(account)),
                        // Another call settles the suspicion.
                        RefusalScope::Pending(_) if endpoints.has_other(number, &tries.held_back) => {
                            tries.hold_back(number, CONFIRMED_BY_OTHERS);
                        }
                        RefusalScope::Pending(era) => {
                            // Another call may settle it.
                            drop(probe);
                            match gate.resolved(era, shutdown).await {
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

    /// Returns when a request takes longer than the last answers lead one to expect, with the time that it was waited for. What is learnt
    /// while it is in flight counts, too.
    async fn overdue(&self, gate: &Gate, given_up: u32) -> Duration {
        if gate.is_simulated() || self.timeout <= learnt_timeout::LEAST {
            return std::future::pending().await;
        }
        let sent = Instant::now();
        let mut waited = learnt_timeout::LEAST;
        loop {
            sleep_until(sent + waited).await;
            let learnt = gate.learnt_timeout(self.max_tokens, given_up);
            match learnt.filter(|learnt| *learnt < self.timeout) {
                Some(learnt) if learnt <= waited => return waited,
                Some(learnt) => waited = learnt.min(waited + learnt_timeout::LEAST),
                // The client itself keeps to the longest time.
                None => waited += learnt_timeout::LEAST,
            }
        }
    }

    /// The pause before the next try at the same server, unless the call has failed too often while others were answered.
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

    /// The wait that counts: a server that keeps asking for another try at once is not believed for ever.
    fn throttled(&mut self, wait: Option<Duration>) -> Option<Duration> {
        if wait != Some(Duration::ZERO) {
            self.at_once = 0;
            return wait;
        }
        self.at_once += 1;
        wait.filter(|_| self.at_once <= AT_ONCE)
    }

    /// Pauses before the next try at this endpoint; another one may take the call meanwhile.
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

    /// The call is given up for now.
    fn give_up(&mut self, waited: Duration) -> Reply {
        self.given_up += 1;
        self.is_given_up = true;
        let message = format!("no answer in {} s", waited.as_secs());
        Verdict::Late { message, wait: None }.into()
    }

    /// Counts an answer that did not come in time. It is the call's own if it was waited for as long as a request may take, and the server
    /// is not saturated.
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

    /// Counts a failure on the server's side. It is the call's own if others were answered there since its last one; or if they were once,
    /// and now the call fails alone, with no other to compare it with.
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

    /// The call goes to other endpoints for this time.
    fn hold_back(&mut self, number: usize, pause: Duration) {
        let until = Instant::now() + pause;
        self.held_back.retain(|held_back| held_back.number != number);
        self.held_back.push(HeldBack { number, until });
    }

    /// A server that returns 500 is there: to a call that has been alone for [`ALONE`] it is an answer about this call.
    fn was_long_alone(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() >= ALONE)
    }
}
