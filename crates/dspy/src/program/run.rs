//! Runs a program on one example as a state machine: it yields the LM calls to make and takes their answers.
//!
//! The caller sends the requests. Nothing here waits, retries or reads a clock.

use super::{Call, Exchange, Prediction, Predictor, Program};
use crate::adapter::{Adapter, AdapterKind, FormatError, JsonAdapter};
use crate::lm::LmResponse;
use crate::signature::Signature;
use bsft_pycompat::json::write_string;
use bsft_pycompat::value::{Record, Value};
use indexmap::IndexMap;
use serde_json::Value as Json;

/// The next step of a running program.
pub enum Step<'p> {
    /// The caller must get an answer from an LM.
    Ask(PendingCall<'p>),
    /// The program has finished.
    Done(ProgramResult),
}

/// A call that needs an LM's answer before the program continues.
pub struct PendingCall<'p> {
    run: Box<Run<'p>>,
    rendered: RenderedRequest,
}

/// A pending call as the LM's client needs it.
pub struct CallRequest<'a> {
    /// The predictor's name in DSPy's `named_predictors()`.
    pub predictor: &'a str,
    /// The name of the LM to call.
    pub lm: &'a str,
    /// The messages, as a compact JSON array.
    pub messages: &'a str,
    /// The JSON body of the chat-completions request, `messages` included.
    pub body: &'a str,
    /// The signature whose output fields the answer must contain.
    pub signature: &'a Signature,
    /// The adapter that will parse the answer.
    pub adapter: &'a dyn Adapter,
    /// The current example, including its labels.
    pub example: &'a Record,
}

/// The result of a program on one example.
#[derive(Clone, Debug)]
pub struct ProgramResult {
    /// The calls, in the order in which they were made.
    pub calls: Vec<Call>,
    /// The outputs of all calls. A later output replaces an earlier one of the same name.
    pub prediction: Prediction,
}

impl ProgramResult {
    /// A field of the prediction; `None` if no call gave it.
    pub fn output(&self, name: &str) -> Option<&Value> {
        self.prediction.get(&self.calls, name)
    }
}

/// An exchange whose answer was not used.
#[derive(Clone, Debug, PartialEq)]
pub struct UnusedExchange {
    /// The request and its answer.
    pub exchange: Exchange,
    /// The adapter that wrote the request and read the answer.
    pub adapter: AdapterKind,
    /// Why the answer was not used.
    pub reason: String,
}

/// Why a run has no prediction.
#[derive(Clone, Debug)]
pub struct ProgramFailure {
    /// The kind of failure.
    pub kind: ProgramFailureKind,
    /// The error message.
    pub message: String,
    /// How many requests were sent to the LM.
    pub attempts: u32,
    /// The predictor that failed.
    pub predictor: String,
    /// The last answer that did not parse, if any.
    pub raw_answer: Option<String>,
    /// The calls before the one that failed.
    pub calls: Vec<Call>,
    /// The call that failed, if the LM answered it.
    pub unparsed: Option<Box<UnparsedCall>>,
}

/// A call whose answers gave no outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct UnparsedCall {
    /// The LM's name in the settings.
    pub lm: String,
    /// The exchanges, in order.
    pub exchanges: Vec<UnusedExchange>,
}

/// The cause of a program's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramFailureKind {
    /// The LM returned no answer.
    Lm,
    /// No adapter could parse the answer.
    Parse,
    /// The caller refused an answer that was cut.
    Cut,
    /// A value could not be written into a prompt.
    Format,
}

/// The state of a run between two calls.
struct Run<'p> {
    predictors: &'p [Predictor],
    example: &'p Record,
    /// Where each name's value is.
    namespace: IndexMap<&'p str, Source<'p>>,
    prediction: Prediction,
    calls: Vec<Call>,
    /// The index of the current predictor, and how many of its calls are done.
    predictor: usize,
    repeated: u32,
}

/// Where a value of the namespace is.
#[derive(Clone, Copy)]
enum Source<'p> {
    /// In the example.
    Example(&'p Value),
    /// Among the outputs of the call at this index.
    Output(usize),
}

/// A rendered request that waits for its answer.
struct RenderedRequest {
    inputs: Record,
    /// The current turn, written by the predictor's own adapter.
    user: String,
    messages: String,
    body: String,
    /// The exchange that did not parse, if this is the retry by the JSON adapter.
    unparsed: Option<Box<UnusedExchange>>,
}

impl Program {
    /// Starts the program on an example whose input columns are `inputs`.
    pub fn start<'p>(&'p self, example: &'p Record, inputs: &[String]) -> Result<Step<'p>, ProgramFailure> {
        let namespace = inputs
            .iter()
            .filter_map(|name| example.get_key_value(name))
            .map(|(name, value)| (name.as_str(), Source::Example(value)))
            .collect();
        let run = Run {
            predictors: &self.predictors,
            example,
            namespace,
            prediction: Prediction::default(),
            calls: Vec::with_capacity(self.predictors.len()),
            predictor: 0,
            repeated: 0,
        };
        Box::new(run).next()
    }
}

impl<'p> PendingCall<'p> {
    /// The request to send to the LM.
    pub fn request(&self) -> CallRequest<'_> {
        let predictor = self.predictor();
        CallRequest {
            predictor: &predictor.name,
            lm: &predictor.lm,
            messages: &self.rendered.messages,
            body: &self.rendered.body,
            signature: &predictor.signature,
            adapter: self.adapter().adapter(),
            example: self.run.example,
        }
    }

    /// Continues with the LM's answer. If it does not parse, the next step is a retry by the JSON adapter, unless the
    /// program already uses that adapter.
    pub fn answer(self, answer: LmResponse) -> Result<Step<'p>, ProgramFailure> {
        let (predictor, adapter) = (self.predictor(), self.adapter());
        let parsed = adapter.adapter().parse(&predictor.signature, &answer.text);
        let PendingCall { run, rendered } = self;
        let exchange = Exchange {
            messages: rendered.messages,
            answer,
        };
        let failure = match parsed {
            Ok(outputs) => {
                return run.called(
                    rendered.inputs,
                    &rendered.user,
                    outputs,
                    exchange,
                    rendered.unparsed,
                );
            }
            Err(failure) => failure,
        };
        let unparsed = UnusedExchange {
            // What came in place of a text says more than that no field was found in it.
            reason: exchange.answer.emptiness().unwrap_or(failure.reason),
            exchange,
            adapter,
        };
        match (rendered.unparsed, &predictor.retry_prelude) {
            (None, Some(prelude)) => run.retry(prelude, rendered.inputs, rendered.user, unparsed),
            (None, None) => Err(run.unparsed(vec![unparsed])),
            (Some(first), _) => Err(run.unparsed(vec![*first, unparsed])),
        }
    }

    /// Ends the run because the LM returned no answer in `attempts` requests.
    pub fn fail(self, message: String, attempts: u32) -> ProgramFailure {
        let unparsed: Vec<UnusedExchange> = self.rendered.unparsed.into_iter().map(|first| *first).collect();
        let raw_answer = last_answer(&unparsed);
        self.run
            .failure(ProgramFailureKind::Lm, message, attempts, raw_answer, unparsed)
    }

    /// Ends the run because the answer is of no use to the caller: it was cut, for the given reason.
    pub fn refuse_cut(self, answer: LmResponse, reason: String) -> ProgramFailure {
        let adapter = self.adapter();
        let PendingCall { run, rendered } = self;
        let cut = UnusedExchange {
            exchange: Exchange {
                messages: rendered.messages,
                answer,
            },
            adapter,
            reason: reason.clone(),
        };
        let first = rendered.unparsed.map(|first| *first);
        let exchanges: Vec<UnusedExchange> = first.into_iter().chain([cut]).collect();
        let (attempts, raw_answer) = (exchanges.len() as u32, last_answer(&exchanges));
        run.failure(ProgramFailureKind::Cut, reason, attempts, raw_answer, exchanges)
    }

    fn predictor(&self) -> &'p Predictor {
        self.run.predictor()
    }

    fn adapter(&self) -> AdapterKind {
        match self.rendered.unparsed {
            None => self.predictor().adapter,
            Some(_) => AdapterKind::Json,
        }
    }
}

impl<'p> Run<'p> {
    fn predictor(&self) -> &'p Predictor {
        &self.predictors[self.predictor]
    }

    /// Returns the next predictor's call, or the result after the last one.
    fn next(mut self: Box<Self>) -> Result<Step<'p>, ProgramFailure> {
        while let Some(predictor) = self.predictors.get(self.predictor) {
            if self.repeated < predictor.repeat {
                return self.ask(predictor);
            }
            self.predictor += 1;
            self.repeated = 0;
        }
        Ok(Step::Done(ProgramResult {
            calls: self.calls,
            prediction: self.prediction,
        }))
    }

    /// A value of the namespace.
    fn value(&self, name: &str) -> Option<&Value> {
        match self.namespace.get(name)? {
            Source::Example(value) => Some(value),
            Source::Output(call) => self.calls.get(*call)?.outputs.get(name),
        }
    }

    fn ask(self: Box<Self>, predictor: &'p Predictor) -> Result<Step<'p>, ProgramFailure> {
        let inputs: Record = predictor
            .wiring
            .iter()
            .filter_map(|(field, key)| Some((field.clone(), self.value(key)?.clone())))
            .collect();
        let user = match predictor.user(predictor.adapter.adapter(), &inputs) {
            Ok(user) => user,
            Err(error) => return Err(self.unformatted(&error, Vec::new())),
        };
        let messages = close_array(&predictor.prelude, &user);
        // The JSON adapter has no retry: its first request already contains its format.
        let format = match predictor.retry_prelude {
            None => predictor.response_format.as_ref(),
            Some(_) => None,
        };
        Ok(self.pending(inputs, user, messages, format, None))
    }

    /// Renders the current call again, with the JSON adapter.
    fn retry(
        self: Box<Self>,
        prelude: &str,
        inputs: Record,
        user: String,
        first: UnusedExchange,
    ) -> Result<Step<'p>, ProgramFailure> {
        let predictor = self.predictor();
        let turn = match predictor.user(&JsonAdapter, &inputs) {
            Ok(turn) => turn,
            Err(error) => return Err(self.unformatted(&error, vec![first])),
        };
        let messages = close_array(prelude, &turn);
        let format = predictor.response_format.as_ref();
        Ok(self.pending(inputs, user, messages, format, Some(Box::new(first))))
    }

    fn pending(
        self: Box<Self>,
        inputs: Record,
        user: String,
        messages: String,
        response_format: Option<&Json>,
        unparsed: Option<Box<UnusedExchange>>,
    ) -> Step<'p> {
        let body = self.predictor().body.render(&messages, response_format);
        let rendered = RenderedRequest {
            inputs,
            user,
            messages,
            body,
            unparsed,
        };
        Step::Ask(PendingCall { run: self, rendered })
    }

    /// Records the outputs of a call and continues.
    fn called(
        mut self: Box<Self>,
        inputs: Record,
        user: &str,
        outputs: Record,
        used: Exchange,
        unparsed: Option<Box<UnusedExchange>>,
    ) -> Result<Step<'p>, ProgramFailure> {
        let predictor = self.predictor();
        // DSPy trains on the configured adapter's prompt even where the JSON retry gave the answer.
        let prompt = match (&predictor.row_prelude, &unparsed) {
            (Some(without_demos), _) => Some(close_array(without_demos, user)),
            (None, Some(first)) => Some(first.exchange.messages.clone()),
            (None, None) => None,
        };
        let adapter = predictor.adapter.adapter();
        let assistant = match adapter.assistant(&predictor.signature, &outputs) {
            Ok(assistant) => assistant,
            Err(error) => {
                let used = UnusedExchange {
                    exchange: used,
                    adapter: unparsed.as_ref().map_or(predictor.adapter, |_| AdapterKind::Json),
                    reason: error.to_string(),
                };
                let first = unparsed.map(|first| *first);
                let exchanges = first.into_iter().chain([used]).collect();
                return Err(self.unformatted(&error, exchanges));
            }
        };
        let call = self.calls.len();
        for field in &predictor.signature.outputs {
            if outputs.contains_key(&field.name) {
                self.namespace.insert(&field.name, Source::Output(call));
                self.prediction.merge(&field.name, call);
            }
        }
        self.calls.push(Call {
            predictor: predictor.name.clone(),
            lm: predictor.lm.clone(),
            inputs,
            outputs,
            used,
            unparsed: unparsed.into_iter().map(|first| first.exchange).collect(),
            prompt,
            assistant,
        });
        self.repeated += 1;
        self.next()
    }

    /// The failure of a call none of whose answers parsed. Its message has the reason of each.
    fn unparsed(self, exchanges: Vec<UnusedExchange>) -> ProgramFailure {
        let message = match exchanges.as_slice() {
            [first, retry] if first.reason != retry.reason => {
                format!("{}; the JSON retry: {}", first.reason, retry.reason)
            }
            all => all.last().map_or_else(String::new, |last| last.reason.clone()),
        };
        let (attempts, raw_answer) = (exchanges.len() as u32, last_answer(&exchanges));
        self.failure(
            ProgramFailureKind::Parse,
            message,
            attempts,
            raw_answer,
            exchanges,
        )
    }

    fn unformatted(self, error: &FormatError, exchanges: Vec<UnusedExchange>) -> ProgramFailure {
        self.failure(ProgramFailureKind::Format, error.to_string(), 1, None, exchanges)
    }

    fn failure(
        self,
        kind: ProgramFailureKind,
        message: String,
        attempts: u32,
        raw_answer: Option<String>,
        exchanges: Vec<UnusedExchange>,
    ) -> ProgramFailure {
        let predictor = self.predictor();
        let lm = predictor.lm.clone();
        let unparsed = (!exchanges.is_empty()).then(|| Box::new(UnparsedCall { lm, exchanges }));
        ProgramFailure {
            kind,
            message,
            attempts,
            predictor: predictor.name.clone(),
            raw_answer,
            calls: self.calls,
            unparsed,
        }
    }
}

impl Predictor {
    /// The current turn, written by the given adapter.
    pub(super) fn user(&self, adapter: &dyn Adapter, inputs: &Record) -> Result<String, FormatError> {
        adapter.user(&self.signature, inputs)
    }
}

fn last_answer(exchanges: &[UnusedExchange]) -> Option<String> {
    let last = exchanges.last()?;
    Some(last.exchange.answer.text.clone())
}

/// Joins the prelude and the current turn into one JSON array. Like DSPy, it omits an empty turn.
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
