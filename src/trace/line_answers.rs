//! The recorded answers of a line of `traces.jsonl` or `failures.jsonl`.

use super::{FailureKind, NotATrace, RecordedAnswer, question};
use crate::lm::{InsteadOfText, LmResponse, Usage, is_cut};
use crate::spec::CutAnswers;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The answers of a line of `traces.jsonl` or `failures.jsonl`, in the order of their requests.
#[derive(Clone, Debug, PartialEq)]
pub struct LineAnswers {
    /// All of them: each was paid.
    pub all: Vec<RecordedAnswer>,
    /// How many of them, from the first on, a new run of the task uses again. The others are asked for again, as a new rollout: they
    /// ended the call that failed.
    pub reusable: usize,
}

#[derive(Deserialize)]
struct AnsweredLine<'a> {
    #[serde(borrow)]
    calls: Option<Vec<AnsweredCall<'a>>>,
    /// Of a failure, like the following fields.
    kind: Option<FailureKind>,
    status: Option<u16>,
    lm: Option<String>,
    #[serde(borrow, default)]
    unparsed: Vec<LineExchange<'a>>,
    records: Option<Vec<RecordedAnswer>>,
}

#[derive(Deserialize)]
struct AnsweredCall<'a> {
    lm: String,
    #[serde(borrow)]
    messages: &'a RawValue,
    raw_answer: String,
    usage: Usage,
    finish_reason: Option<String>,
    instead: Option<Box<InsteadOfText>>,
    #[serde(borrow, default)]
    unparsed: Vec<LineExchange<'a>>,
}

#[derive(Deserialize)]
struct LineExchange<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
    raw_answer: String,
    usage: Usage,
    finish_reason: Option<String>,
    instead: Option<Box<InsteadOfText>>,
}

impl LineAnswers {
    /// Reads a line, for a job that treats cut answers in this way. `None` if it is a failure of version 0.1.0, whose answers are lost.
    pub fn parse(line: &str, cut_answers: CutAnswers) -> Result<Option<LineAnswers>, NotATrace> {
        let line: AnsweredLine<'_> = serde_json::from_str(line)?;
        if let Some(records) = line.records {
            // The last answer may be what ended the task.
            let reusable = records.len().saturating_sub(1);
            return Ok(Some(LineAnswers {
                all: records,
                reusable,
            }));
        }
        let Some(calls) = line.calls else {
            return Ok(None);
        };
        let exchanges = calls.into_iter().flat_map(|call| {
            let used = LineExchange {
                messages: call.messages,
                raw_answer: call.raw_answer,
                usage: call.usage,
                finish_reason: call.finish_reason,
                instead: call.instead,
            };
            let lm = call.lm;
            call.unparsed
                .into_iter()
                .chain([used])
                .map(move |exchange| exchange.recorded(&lm))
        });
        let mut all: Vec<RecordedAnswer> = exchanges.collect();
        let in_calls = all.len();
        let lm = line.lm.unwrap_or_default();
        let was_cut = line
            .unparsed
            .iter()
            .any(|exchange| exchange.finish_reason.as_deref().is_some_and(is_cut));
        all.extend(line.unparsed.into_iter().map(|exchange| exchange.recorded(&lm)));
        let is_reused = match line.kind {
            // Without an answer to the JSON retry, the answer before it stands. A refusal would be repeated, so the call starts afresh.
            Some(FailureKind::Lm) => line.status.is_none(),
            // A job that drops such answers asks for another one. A job that keeps them has paid for this one.
            Some(FailureKind::Cut) => cut_answers == CutAnswers::Keep,
            // A job that drops cut answers refuses this one without another request.
            Some(FailureKind::Parse) => was_cut && cut_answers == CutAnswers::Drop,
            _ => false,
        };
        let reusable = if is_reused { all.len() } else { in_calls };
        Ok(Some(LineAnswers { all, reusable }))
    }

    /// The answers that a new run of the task uses again.
    pub fn into_reusable(mut self) -> Vec<RecordedAnswer> {
        self.all.truncate(self.reusable);
        self.all
    }
}

impl LineExchange<'_> {
    fn recorded(self, lm: &str) -> RecordedAnswer {
        RecordedAnswer {
            question: question(lm, self.messages.get()),
            lm: lm.to_owned(),
            answer: LmResponse {
                text: self.raw_answer,
                usage: self.usage,
                finish_reason: self.finish_reason,
                instead: self.instead,
            },
            latency_ms: None,
            endpoint: None,
        }
    }
}
