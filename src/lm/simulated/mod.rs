//! The simulated LM, without a server: it answers from the example's own labels, correctly or not by a seeded draw.

mod draw;
mod random_values;
#[cfg(test)]
mod tests;

use super::{Lm, LmError, LmRequest, LmResponse, LmSettings, Reply, Simulation, Usage, UsageTotals, Verdict};
use crate::metrics::{LmMetrics, RequestTimer};
use crate::signature::Type;
use crate::value::{Record, Value};
use async_trait::async_trait;
use draw::Draw;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An LM whose answers are a pure function of the request body and the seeds.
#[derive(Debug)]
pub struct SimulatedLm {
    name: String,
    simulation: Simulation,
    seed: u64,
    retries: u32,
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
    metrics: LmMetrics,
}

impl SimulatedLm {
    /// Creates an LM with the behaviour `settings.simulate`. A different model or job seed changes its answers.
    pub fn new(settings: &LmSettings, job_seed: u64, metrics: LmMetrics) -> SimulatedLm {
        let seed = draw::hash(settings.simulate.seed, settings.model.as_bytes());
        SimulatedLm {
            name: settings.name.clone(),
            simulation: settings.simulate,
            seed: draw::hash(seed ^ job_seed.rotate_left(32), &job_seed.to_le_bytes()),
            retries: settings.num_retries.unwrap_or(super::DEFAULT_RETRIES),
            requests: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            completion_tokens: AtomicU64::new(0),
            metrics,
        }
    }

    /// Counts failed tries, each of which was followed by another.
    fn failed(&self, status: u16, tries: u32) {
        for _ in 0..tries {
            self.failed_once(status, self.metrics.request());
            self.metrics.retried();
        }
    }

    fn failed_once(&self, status: u16, mut timer: RequestTimer<'_>) {
        timer.answered(status);
        if status == 429 {
            self.metrics.throttled();
        }
    }

    /// The number of tries until the request succeeds. `None` if all fail, as with an error rate of 1.
    fn attempts_needed(&self, draw: &mut Draw) -> Option<u32> {
        if self.simulation.error_rate >= 1.0 {
            return None;
        }
        let failed = draw.chance(self.simulation.error_rate) && self.retries > 0;
        Some(1 + u32::from(failed))
    }

    fn outputs(&self, request: &LmRequest<'_>, draw: &mut Draw) -> Record {
        let outputs = request.context.signature.outputs.iter().map(|field| {
            let label = request
                .context
                .example
                .get(&field.name)
                .map(|label| accepted(label, &field.ty));
            let right = draw.chance(self.simulation.accuracy);
            let value = match label {
                Some(label) if right => label.into_owned(),
                Some(label) => random_values::wrong_value(&field.ty, &label, draw),
                None => random_values::plausible_value(&field.ty, draw),
            };
            (field.name.clone(), value)
        });
        outputs.collect()
    }

    fn written(&self, request: &LmRequest<'_>, outputs: &Record) -> Result<String, LmError> {
        let written = request
            .context
            .adapter
            .assistant(request.context.signature, outputs);
        written.map_err(|error| LmError::Garbled {
            lm: self.name.clone(),
            message: error.to_string(),
        })
    }
}

/// An answer that does not parse: empty, prose, or the answer without its first header.
fn spoil(answer: String, draw: &mut Draw) -> String {
    match (
        draw.below(3),
        answer
            .split_once("[[ ## ")
            .and_then(|(_, rest)| rest.split_once(" ## ]]")),
    ) {
        (0, _) => String::new(),
        (1, Some((field, rest))) => format!("{field}:{rest}"),
        _ => "I would rather talk about the weather. It is mild for the season.".to_owned(),
    }
}

/// The first accepted answer, if the label is a list of them for a field that is no list.
fn accepted<'a>(label: &'a Value, ty: &Type) -> Cow<'a, Value> {
    let first = match (label, ty) {
        (Value::List(_), Type::List(_) | Type::Tuple(_) | Type::Set(_) | Type::Any | Type::Union(_)) => None,
        (Value::List(answers), _) => answers.get(0),
        _ => None,
    };
    first.unwrap_or(Cow::Borrowed(label))
}

impl SimulatedLm {
    /// Answers a request. A failed first try is repeated within this call: nothing limits a simulated LM, so no call has to wait.
    async fn answer(&self, request: LmRequest<'_>) -> Result<LmResponse, LmError> {
        let mut draw = Draw::new(draw::hash(self.seed, request.body.as_bytes()));
        let mut timer = self.metrics.request();
        if self.simulation.latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.simulation.latency_ms)).await;
        }
        let status = if draw.chance(0.5) { 429 } else { 500 };
        let Some(attempts) = self.attempts_needed(&mut draw) else {
            let attempts = self.retries + 1;
            self.requests.fetch_add(u64::from(attempts), Relaxed);
            let message = format!("HTTP {status}: simulated");
            self.failed(status, self.retries);
            self.failed_once(status, timer);
            return Err(LmError::Unavailable {
                lm: self.name.clone(),
                attempts,
                message,
            });
        };
        self.requests.fetch_add(u64::from(attempts), Relaxed);
        self.failed(status, attempts - 1);

        let malformed = draw.chance(self.simulation.malformed_rate);
        let outputs = self.outputs(&request, &mut draw);
        let text = if malformed {
            spoil(self.written(&request, &outputs)?, &mut draw)
        } else {
            self.written(&request, &outputs)?
        };
        let usage = Usage::known(request.body.len() as u64 / 4, text.len() as u64 / 4);
        self.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
        self.completion_tokens.fetch_add(usage.completion_tokens, Relaxed);
        timer.answered(200);
        self.metrics.spent(usage.prompt_tokens, usage.completion_tokens);
        Ok(LmResponse {
            text,
            usage,
            ..LmResponse::default()
        })
    }
}

#[async_trait]
impl Lm for SimulatedLm {
    async fn complete(&self, request: LmRequest<'_>) -> Reply {
        let answer = self.answer(request).await;
        answer.map_or_else(Verdict::Failed, Verdict::Answer).into()
    }

    fn usage_totals(&self) -> UsageTotals {
        UsageTotals {
            requests: self.requests.load(Relaxed),
            usage: Usage::known(
                self.prompt_tokens.load(Relaxed),
                self.completion_tokens.load(Relaxed),
            ),
        }
    }
}
