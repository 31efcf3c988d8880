//! A line of `failures.jsonl`: why a task has no trace, and what was answered before.

use super::line::{write_calls, write_number, write_record, write_unused, write_usage};
use super::{Call, RecordedAnswer, Spent, UnparsedCall};
use crate::lm::Usage;
use crate::python::json::write_string;
use crate::task::TaskId;
use crate::value::Record;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A task that ended without a trace.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// Whose fault it was.
    pub kind: FailureKind,
    /// What happened, for a person.
    pub message: String,
    /// How often the LM (kind `lm`) or the task (otherwise) was tried.
    pub attempts: u32,
    /// The predictor at work, as DSPy names it.
    pub predictor: Option<String>,
    /// The last answer that was not used.
    pub raw_answer: Option<String>,
    /// The HTTP status with which the LM's server refused the request.
    pub status: Option<u16>,
    /// The example's inputs.
    pub inputs: Record,
    /// What was answered.
    pub answered: Answered,
    /// The task.
    pub task: TaskId,
    /// As in a trace; `made_by` in the file.
    pub trace_fingerprint: String,
}

/// The LM's answers to a failed task: paid, and the base of a retry.
#[derive(Clone, Debug)]
pub enum Answered {
    /// The program stopped at a call, or after the last one.
    Calls {
        /// The calls that gave outputs, in order.
        calls: Vec<Call>,
        /// The next call, which gave none, if the LM answered it.
        unparsed: Option<Box<UnparsedCall>>,
    },
    /// The task ended in an unknown place: its records, in the order of its requests.
    Records(Vec<RecordedAnswer>),
}

/// What kept a task from ending in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The LM gave no answer.
    Lm,
    /// No adapter could read the answer.
    Parse,
    /// The answer was cut, and the job drops such answers.
    Cut,
    /// A value could not be written into a prompt.
    Format,
    /// The metric could not score the prediction.
    Metric,
    /// The task ended its worker too often.
    Lost,
    /// A bug in bsft: the task panicked.
    Bug,
}

impl FailureKind {
    /// The name in `failures.jsonl` and in the summary.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Lm => "lm",
            FailureKind::Parse => "parse",
            FailureKind::Cut => "cut",
            FailureKind::Format => "format",
            FailureKind::Metric => "metric",
            FailureKind::Lost => "lost",
            FailureKind::Bug => "bug",
        }
    }
}

impl Failure {
    /// The line, without its line feed. Calls and exchanges look as in a line of `traces.jsonl`.
    pub fn to_line(&self) -> String {
        let mut out = String::with_capacity(1024);
        write_number(&mut out, "{\"teacher\":", u64::from(self.teacher));
        write_number(&mut out, ",\"example\":", u64::from(self.example));
        out.push_str(",\"kind\":");
        write_string(self.kind.name(), &mut out);
        out.push_str(",\"message\":");
        write_string(&self.message, &mut out);
        write_number(&mut out, ",\"attempts\":", u64::from(self.attempts));
        if let Some(predictor) = &self.predictor {
            out.push_str(",\"predictor\":");
            write_string(predictor, &mut out);
        }
        if let Some(raw_answer) = &self.raw_answer {
            out.push_str(",\"raw_answer\":");
            write_string(raw_answer, &mut out);
        }
        if let Some(status) = self.status {
            write_number(&mut out, ",\"status\":", u64::from(status));
        }
        out.push_str(",\"usage\":[");
        for (i, spent) in self.answered.spent().iter().enumerate() {
            out.push_str(if i > 0 { ",[" } else { "[" });
            write_string(&spent.lm, &mut out);
            out.push(',');
            write_usage(spent.usage, &mut out);
            out.push(']');
        }
        out.push_str("],\"inputs\":");
        write_record(&self.inputs, &mut out);
        self.answered.write(&mut out);
        // Writing to a String cannot fail.
        let _ = write!(out, ",\"task\":\"{}\",\"made_by\":", self.task);
        write_string(&self.trace_fingerprint, &mut out);
        out.push('}');
        out
    }
}

impl Answered {
    /// What the answers cost, by LM in order of first use.
    fn spent(&self) -> Vec<Spent> {
        let mut all: Vec<Spent> = Vec::new();
        let mut add = |lm: &str, usage: Usage| Spent::add(&mut all, lm, 1, usage);
        match self {
            Answered::Calls { calls, unparsed } => {
                for call in calls {
                    for exchange in call.unparsed.iter().chain([&call.used]) {
                        add(&call.lm, exchange.answer.usage);
                    }
                }
                if let Some(call) = unparsed {
                    let exchanges = call.exchanges.iter();
                    exchanges.for_each(|unused| add(&call.lm, unused.exchange.answer.usage));
                }
            }
            Answered::Records(records) => records
                .iter()
                .filter(|record| !record.lm.is_empty())
                .for_each(|record| add(&record.lm, record.answer.usage)),
        }
        all
    }

    fn write(&self, out: &mut String) {
        match self {
            Answered::Calls { calls, unparsed } => {
                out.push_str(",\"calls\":[");
                write_calls(calls, out);
                out.push(']');
                if let Some(call) = unparsed {
                    out.push_str(",\"lm\":");
                    write_string(&call.lm, out);
                    write_unused(&call.exchanges, out);
                }
            }
            Answered::Records(records) => {
                out.push_str(",\"records\":");
                out.push_str(&serde_json::to_string(records).expect("strings and numbers serialise"));
            }
        }
    }
}
