//! Running a program on an example: the namespace, the calls, the one JSON retry.

use super::{Predictor, Program};
use crate::adapter::{Adapter, FormatError, JsonAdapter};
use crate::lm::{LmError, LmRequest, LmResponse, RequestContext, Usage};
use crate::python::json::write_string;
use crate::trace::{Call, Exchange, FailureKind};
use crate::value::Record;

/// Where a program's answers come from: an LM, or the record of what it once answered.
pub trait Answers: Send {
    /// What keeps an answer from being used although the LM gave it, such as a store that is down.
    type Interruption: Send;

    /// The answer of the LM of that name to these messages (a JSON array), which the request carries, for a predictor.
    fn answer(
        &mut self,
        predictor: &str,
        lm: &str,
        messages: &str,
        request: LmRequest<'_>,
    ) -> impl Future<Output = Result<LmResponse, Ending<LmError, Self::Interruption>>> + Send;
}

/// Why something did not come to its end.
#[derive(Debug)]
pub enum Ending<F, I> {
    /// It failed: this counts.
    Failed(F),
    /// It was interrupted: it will be tried again.
    Interrupted(I),
}

/// Why a run of a program has no prediction.
#[derive(Debug)]
pub struct TaskFailure {
    /// Whose fault it was.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
    /// Tries at the LM.
    pub attempts: u32,
    /// The predictor at work.
    pub predictor: Option<String>,
    /// The answer that would not parse.
    pub raw_answer: Option<String>,
    /// Tokens paid for until then, by LM.
    pub usage: Vec<(String, Usage)>,
}

impl Program {
    /// Runs the program on an example whose input columns are `inputs`. Gives the calls and the prediction.
    pub async fn run<A: Answers>(
        &self,
        example: &Record,
        inputs: &[String],
        answers: &mut A,
    ) -> Result<(Vec<Call>, Record), Ending<TaskFailure, A::Interruption>> {
        let mut namespace: Record = inputs
            .iter()
            .filter_map(|name| example.get(name).map(|value| (name.clone(), value.clone())))
            .collect();
        let mut prediction = Record::new();
        let mut calls: Vec<Call> = Vec::with_capacity(self.predictors.len());
        for predictor in &self.predictors {
            for _ in 0..predictor.repeat {
                match predictor.call(&namespace, example, answers).await {
                    Ok(call) => {
                        for (name, value) in &call.outputs {
                            namespace.insert(name.clone(), value.clone());
                            prediction.insert(name.clone(), value.clone());
                        }
                        calls.push(call);
                    }
                    Err(Ending::Failed(mut failure)) => {
                        failure.usage.splice(0..0, usage_of(&calls));
                        return Err(Ending::Failed(failure));
                    }
                    Err(interrupted) => return Err(interrupted),
                }
            }
        }
        Ok((calls, prediction))
    }
}

/// Tokens of the calls, by LM in order of first use.
pub(crate) fn usage_of(calls: &[Call]) -> Vec<(String, Usage)> {
    let mut usage: indexmap::IndexMap<&str, Usage> = indexmap::IndexMap::new();
    for call in calls {
        let spent = usage.entry(&call.lm).or_default();
        for exchange in call.unparsed.iter().chain([&call.used]) {
            *spent += exchange.usage;
        }
    }
    usage
        .into_iter()
        .map(|(lm, usage)| (lm.to_owned(), usage))
        .collect()
}

impl Predictor {
    /// The current turn in this adapter's words.
    pub(super) fn user(&self, adapter: &dyn Adapter, inputs: &Record) -> Result<String, FormatError> {
        adapter.user(&self.signature, inputs)
    }

    async fn call<A: Answers>(
        &self,
        namespace: &Record,
        example: &Record,
        answers: &mut A,
    ) -> Result<Call, Ending<TaskFailure, A::Interruption>> {
        let inputs: Record = self
            .wiring
            .iter()
            .filter_map(|(field, key)| namespace.get(key).map(|value| (field.clone(), value.clone())))
            .collect();
        let user = self
            .user(self.adapter, &inputs)
            .map_err(|error| self.unformatted(&error))?;
        let messages = close_array(&self.prelude, &user);
        let format = self.response_format.as_ref();
        let first_format = format.filter(|_| self.retry_prelude.is_none());
        let first = self
            .exchange(self.adapter, messages, first_format, example, &[], answers)
            .await?;
        let (outputs, used, unparsed) = match self.adapter.parse(&self.signature, &first.raw_answer) {
            Ok(outputs) => (outputs, first, Vec::new()),
            Err(failure) => {
                let Some(retry_prelude) = &self.retry_prelude else {
                    return Err(self.unparsed(failure.reason, vec![first]));
                };
                let json = &JsonAdapter;
                let turn = self
                    .user(json, &inputs)
                    .map_err(|error| self.unformatted(&error))?;
                let messages = close_array(retry_prelude, &turn);
                let spent = std::slice::from_ref(&first);
                let second = self
                    .exchange(json, messages, format, example, spent, answers)
                    .await?;
                match json.parse(&self.signature, &second.raw_answer) {
                    Ok(outputs) => (outputs, second, vec![first]),
                    Err(failure) => return Err(self.unparsed(failure.reason, vec![first, second])),
                }
            }
        };
        // DSPy trains on the configured adapter's prompt even where the JSON retry gave the answer.
        let prompt = match (&self.row_prelude, unparsed.first()) {
            (Some(without_demos), _) => Some(close_array(without_demos, &user)),
            (None, Some(first)) => Some(first.messages.clone()),
            (None, None) => None,
        };
        let assistant = self
            .adapter
            .assistant(&self.signature, &outputs)
            .map_err(|error| self.unformatted(&error))?;
        Ok(Call {
            predictor: self.name.clone(),
            lm: self.lm.clone(),
            inputs,
            outputs,
            used,
            unparsed,
            prompt,
            assistant,
        })
    }

    async fn exchange<A: Answers>(
        &self,
        adapter: &dyn Adapter,
        messages: String,
        response_format: Option<&serde_json::Value>,
        example: &Record,
        spent: &[Exchange],
        answers: &mut A,
    ) -> Result<Exchange, Ending<TaskFailure, A::Interruption>> {
        let body = self.body.render(&messages, response_format);
        let context = RequestContext {
            signature: &self.signature,
            adapter,
            example,
        };
        match answers
            .answer(
                &self.name,
                &self.lm,
                &messages,
                LmRequest { body: &body, context },
            )
            .await
        {
            Ok(answer) => Ok(Exchange {
                messages,
                raw_answer: answer.text,
                usage: answer.usage,
            }),
            Err(Ending::Interrupted(interruption)) => Err(Ending::Interrupted(interruption)),
            Err(Ending::Failed(error)) => Err(Ending::Failed(TaskFailure {
                kind: FailureKind::Lm,
                message: error.to_string(),
                attempts: error.attempts(),
                predictor: Some(self.name.clone()),
                raw_answer: spent.last().map(|exchange| exchange.raw_answer.clone()),
                usage: self.usage(spent),
            })),
        }
    }

    fn usage(&self, spent: &[Exchange]) -> Vec<(String, Usage)> {
        spent
            .iter()
            .map(|exchange| (self.lm.clone(), exchange.usage))
            .collect()
    }

    fn unparsed<I>(&self, reason: String, exchanges: Vec<Exchange>) -> Ending<TaskFailure, I> {
        Ending::Failed(TaskFailure {
            kind: FailureKind::Parse,
            message: reason,
            attempts: exchanges.len() as u32,
            predictor: Some(self.name.clone()),
            usage: self.usage(&exchanges),
            raw_answer: exchanges
                .into_iter()
                .next_back()
                .map(|exchange| exchange.raw_answer),
        })
    }

    fn unformatted<I>(&self, error: &FormatError) -> Ending<TaskFailure, I> {
        Ending::Failed(TaskFailure {
            kind: FailureKind::Format,
            message: error.to_string(),
            attempts: 1,
            predictor: Some(self.name.clone()),
            raw_answer: None,
            usage: Vec::new(),
        })
    }
}

/// Prelude and current turn as one JSON array; DSPy leaves an empty turn out.
fn close_array(prelude: &str, user: &str) -> String {
    let mut messages = String::with_capacity(prelude.len() + user.len() + user.len() / 8 + 64);
    messages.push_str(prelude);
    if !user.is_empty() {
        if !prelude.ends_with('[') {
            messages.push(',');
        }
        messages.push_str("{\"role\":\"user\",\"content\":");
        write_string(user, &mut messages);
        messages.push('}');
    }
    messages.push(']');
    messages
}
