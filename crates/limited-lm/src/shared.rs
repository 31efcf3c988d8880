//! The state that all connections of a server share: the account, the requests in flight, and the outage.

use crate::account::{AdmittedRequest, AnswerEnding, LimitedAccount, ServerReaction};
use crate::behaviour::{OutageKind, ServerBehaviour, SharedCapacity};
use crate::http::{HttpReply, HttpRequest};
use crate::processor_sharing::SharedProcessor;
use crate::refusal;
use crate::server_clock::ServerClock;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot, watch};

/// The server without its sockets.
pub(crate) struct SharedServer {
    clock: ServerClock,
    account: Mutex<LimitedAccount>,
    /// The present outage; `None` if the server is up.
    pub(crate) breakdown: watch::Sender<Option<OutageKind>>,
    /// Notified when a request arrived or was answered.
    happened: Notify,
    processor: Option<Mutex<SharedProcessor<oneshot::Sender<()>>>>,
    /// Notified when a request was added to the processor or dropped from it.
    processor_changed: Notify,
}

/// A response, and whether the connection is closed after it.
pub(crate) enum ReplySending {
    Whole(HttpReply),
    /// The first half of the response, after which the connection is closed.
    Half(HttpReply),
}

/// An admitted request. If it is dropped before it ends, it is counted as dropped.
struct PendingRequest<'a> {
    shared: &'a SharedServer,
    is_ended: bool,
}

impl SharedServer {
    pub(crate) fn new(behaviour: ServerBehaviour) -> SharedServer {
        let clock = ServerClock::start(behaviour.speed);
        let processor =
            |saturation: SharedCapacity| Mutex::new(SharedProcessor::new(saturation, clock.now()));
        SharedServer {
            clock,
            processor: behaviour.saturation.map(processor),
            account: Mutex::new(LimitedAccount::new(behaviour, clock)),
            breakdown: watch::Sender::new(None),
            happened: Notify::new(),
            processor_changed: Notify::new(),
        }
    }

    pub(crate) fn account(&self) -> MutexGuard<'_, LimitedAccount> {
        locked(&self.account)
    }

    /// Returns the response to a request after its latency. Never returns if the request hangs.
    pub(crate) async fn reply(&self, request: &HttpRequest) -> ReplySending {
        if request.path.ends_with("/_counts") {
            let counts = self.account().counts.served();
            return ReplySending::Whole(HttpReply::ok(serde_json::to_string(&counts).unwrap_or_default()));
        }
        if request.path.ends_with("/models") {
            let models = r#"{"object":"list","data":[{"id":"limited","object":"model"}]}"#;
            return ReplySending::Whole(HttpReply::ok(models.to_owned()));
        }
        if !request.path.ends_with("/chat/completions") {
            return ReplySending::Whole(refusal::no_such_path());
        }
        let is_overloaded = *self.breakdown.borrow() == Some(OutageKind::Unavailable);
        let reaction = self.account().arrive(request, is_overloaded, self.clock.now());
        self.happened.notify_waiters();
        match reaction {
            ServerReaction::Refused(reply) => ReplySending::Whole(reply),
            ServerReaction::Admitted(admission) => self.work(admission).await,
        }
    }

    async fn work(&self, admission: AdmittedRequest) -> ReplySending {
        let mut in_flight = PendingRequest {
            shared: self,
            is_ended: false,
        };
        if admission.ending == AnswerEnding::Never {
            pending::<()>().await;
        }
        match &self.processor {
            None => tokio::time::sleep(self.clock.real(admission.latency_s)).await,
            Some(processor) => {
                let (sender, ended) = oneshot::channel();
                locked(processor).add(sender, self.clock.now());
                self.processor_changed.notify_one();
                // The sender lives as long as the server.
                let _ = ended.await;
            }
        }
        in_flight.is_ended = true;
        self.finish(admission)
    }

    fn finish(&self, admission: AdmittedRequest) -> ReplySending {
        let mut account = self.account();
        let counts = &mut account.counts;
        let reply = HttpReply {
            headers: admission.headers,
            ..HttpReply::ok(admission.question.completion(admission.answer_tokens))
        };
        match admission.ending {
            AnswerEnding::Half => {
                counts.halved();
                ReplySending::Half(reply)
            }
            AnswerEnding::Crashed => {
                let reply = refusal::crashed();
                counts.broken(reply.status);
                ReplySending::Whole(reply)
            }
            AnswerEnding::Whole | AnswerEnding::Never => {
                let tokens = admission.question.prompt_tokens + admission.answer_tokens;
                counts.answered(admission.question.digest, tokens, self.clock.now());
                drop(account);
                self.happened.notify_waiters();
                ReplySending::Whole(reply)
            }
        }
    }

    /// Ends the requests on the processor at their times. Never returns.
    pub(crate) async fn run_processor(&self) {
        let Some(processor) = &self.processor else {
            return pending().await;
        };
        loop {
            let next = {
                let mut processor = locked(processor);
                let now = self.clock.now();
                processor.remove(oneshot::Sender::is_closed, now);
                while let Some(sender) = processor.ended(now) {
                    // The client may have disconnected.
                    let _ = sender.send(());
                }
                processor.next_end()
            };
            let end = async {
                match next {
                    Some(secs) => tokio::time::sleep(self.clock.real(secs)).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = end => {}
                () = self.processor_changed.notified() => {}
            }
        }
    }

    /// Runs the planned outage. Never returns.
    pub(crate) async fn run_outage(&self, behaviour: &ServerBehaviour) {
        let Some(outage) = behaviour.outage else {
            return pending().await;
        };
        self.until(|arrivals, _| arrivals > 0).await;
        tokio::time::sleep(self.clock.real(outage.from_s)).await;
        self.until(|_, answers| answers >= outage.after_answers).await;
        self.breakdown.send_replace(Some(outage.how));
        tokio::time::sleep(self.clock.real(outage.for_s)).await;
        self.breakdown.send_replace(None);
        pending().await
    }

    /// Waits until the numbers of arrivals and answers satisfy the condition.
    async fn until(&self, condition: impl Fn(u64, u64) -> bool) {
        loop {
            let happened = self.happened.notified();
            tokio::pin!(happened);
            // From here on no notification is missed.
            happened.as_mut().enable();
            let reached = {
                let counts = &self.account().counts;
                condition(counts.arrivals(), counts.answers())
            };
            if reached {
                return;
            }
            happened.await;
        }
    }

    /// Returns when an outage closes the connections.
    pub(crate) async fn until_cut(&self) {
        let mut breakdown = self.breakdown.subscribe();
        let is_cut = |how: &Option<OutageKind>| matches!(how, Some(OutageKind::Refuse | OutageKind::Reset));
        // The sender lives as long as `self`.
        let _ = breakdown.wait_for(is_cut).await;
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        if !self.is_ended {
            self.shared.account().counts.dropped();
            self.shared.processor_changed.notify_one();
        }
    }
}

/// After a panic of another thread, a test may still read the counters.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
