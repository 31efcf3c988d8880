//! A call through a gate: sent again for what is not its own fault, until it is answered or its example has failed.

use super::gate::{Gate, HandedBack, Standing, Suspicion};
use crate::http::retry;
use crate::lm::{ClosedAccount, DEFAULT_RETRIES, Lm, LmError, LmRequest, LmResponse, LmSettings, Verdict};
use crate::metrics::LmMetrics;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// So often a call may be told to try again at once; from then on such an answer limits as others do.
const AT_ONCE: u32 = 3;

/// So often a call asks again after another call has shown that the account is accepted.
const ASKED_AGAIN: u32 = 1;

/// The longest pause of a call after its first failure on the server's side, doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The status by which a server reports that this request made it fail. Servers that are away or overloaded send 502, 503 or 504.
const INTERNAL_ERROR: u16 = 500;

/// How long a call alone is asked again after 500 before it fails: longer than a restart takes that shows as 500.
const ALONE: Duration = Duration::from_secs(30);

/// An LM of a job behind its gate.
pub struct GatedLm {
    name: String,
    lm: Arc<dyn Lm>,
    gate: Arc<Gate>,
    /// How often a call may fail on the server's side while others are answered.
    retries: u32,
    metrics: LmMetrics,
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
    /// Those that are the call's own fault, as far as one can tell.
    own: u32,
    /// Answers to other calls when it last failed.
    answers: u64,
    /// Its failures since then.
    since_answers: u32,
    /// Told to try again at once, in a row.
    at_once: u32,
    /// The suspicion that it raised itself.
    suspicion: Option<u64>,
    /// How often its refusal was shown to be its own.
    unfounded: u32,
    /// Since when the call has got nothing but 500, with no other call at the gate.
    alone_since: Option<Instant>,
}

impl GatedLm {
    pub fn new(lm: Arc<dyn Lm>, gate: Arc<Gate>, settings: &LmSettings, metrics: LmMetrics) -> GatedLm {
        GatedLm {
            name: settings.name.clone(),
            lm,
            gate,
            retries: settings.num_retries.unwrap_or(DEFAULT_RETRIES),
            metrics,
        }
    }

    /// Completes a request with a permit for each try; waits as long as the account asks for.
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
    ) -> Result<LmResponse, GateError> {
        let mut tries = Tries::new(self.gate.answered());
        loop {
            let slot = self.gate.enter(request.body.len(), permits, shutdown).await?;
            if tries.made > 0 {
                self.metrics.retried();
            }
            tries.made += 1;
            let reply = self.lm.complete(request).await;
            let hints = reply.hints;
            match reply.verdict {
                Verdict::Answer(answer) => {
                    slot.answered(answer.usage, &hints);
                    return Ok(answer);
                }
                Verdict::Failed(error) => {
                    slot.failed(&hints);
                    return Err(GateError::Failed(error));
                }
                Verdict::Throttled { message, wait } => {
                    let wait = tries.throttled(wait);
                    self.log(&tries, wait, &message);
                    slot.throttled(&message, wait, &hints);
                }
                Verdict::Away {
                    status,
                    message,
                    wait,
                } => {
                    slot.away(&message);
                    tries.away(status, &self.gate);
                    self.away(&mut tries, message, wait, shutdown).await?;
                }
                Verdict::Closed(account) => match slot.refused(&account, tries.suspicion) {
                    Standing::Closed => return Err(GateError::HandedBack),
                    Standing::Own => return Err(self.refused(account)),
                    Standing::Pending(era) => match self.gate.settled(era, shutdown).await? {
                        Suspicion::Unconfirmed => tries.suspicion = Some(era),
                        Suspicion::Unfounded if tries.unfounded >= ASKED_AGAIN => {
                            return Err(self.refused(account));
                        }
                        Suspicion::Unfounded => tries.unfounded += 1,
                    },
                },
            }
        }
    }

    /// Pauses before the next try, unless the call has failed too often while others were answered.
    async fn away(
        &self,
        tries: &mut Tries,
        message: String,
        wait: Option<Duration>,
        shutdown: &Shutdown,
    ) -> Result<(), GateError> {
        if tries.own > self.retries || tries.was_long_alone() {
            return Err(GateError::Failed(LmError::Unavailable {
                lm: self.name.clone(),
                attempts: tries.made,
                message,
            }));
        }
        let pause = wait.unwrap_or_else(|| retry::backoff(FIRST_PAUSE, tries.own.max(1)));
        self.log(tries, Some(pause), &message);
        if pause.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = shutdown.draining() => Err(GateError::HandedBack),
        }
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
    fn new(answers: u64) -> Tries {
        Tries {
            made: 0,
            own: 0,
            answers,
            since_answers: 0,
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

    /// Counts a failure on the server's side. It is the call's own if others were answered since its last one; or if they were once, and
    /// now the call fails alone, with no other to compare it with.
    fn away(&mut self, status: Option<u16>, gate: &Gate) {
        let answers = gate.answered();
        self.alone_since = if status == Some(INTERNAL_ERROR) && gate.is_idle() {
            self.alone_since.or_else(|| Some(Instant::now()))
        } else {
            None
        };
        if answers > self.answers {
            self.answers = answers;
            self.since_answers = 0;
            self.own += 1;
        } else if self.own > 0 && gate.is_idle() && gate.failures_in_row() <= self.since_answers + 1 {
            self.own += 1;
        }
        self.since_answers += 1;
    }

    /// A server that returns 500 is there: to a call that has been alone for [`ALONE`] it is an answer about this call.
    fn was_long_alone(&self) -> bool {
        self.alone_since.is_some_and(|since| since.elapsed() >= ALONE)
    }
}
