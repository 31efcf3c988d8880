//! Where things stand in a line of `traces.jsonl`: what resume, collecting and the training files need, and no more.

use super::Spent;
use crate::lm::Usage;
use crate::task::TaskId;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::ops::Range;

/// A line's facts and the byte ranges of its training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct LineIndex {
    /// The task that made it.
    pub task: TaskId,
    /// What shaped it beside the LM's answers.
    pub trace_fingerprint: String,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example.
    pub example: u32,
    /// Whether its rows are trained on.
    pub kept: bool,
    /// One per call, in order.
    pub calls: Vec<CallIndex>,
}

/// One call of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct CallIndex {
    /// As DSPy names the predictor.
    pub predictor: String,
    /// The LM's name in the job file.
    pub lm: String,
    /// Tokens of all its exchanges.
    pub usage: Usage,
    /// How many exchanges it took.
    pub exchanges: u32,
    /// How the answer that was used ended, unless by `stop`.
    pub finish_reason: Option<String>,
    /// The row's messages before the assistant turn: a JSON array.
    pub prompt: Range<u32>,
    /// The row's assistant turn: a JSON string.
    pub assistant: Range<u32>,
}

/// The text is no line of this version's `traces.jsonl`.
#[derive(Debug, thiserror::Error)]
#[error("not a trace of this version: {0}")]
pub struct NotATrace(#[from] serde_json::Error);

#[derive(Deserialize)]
struct TraceLine<'a> {
    teacher: u32,
    example: u32,
    kept: bool,
    #[serde(borrow)]
    calls: Vec<TraceLineCall<'a>>,
    task: TaskId,
    #[serde(rename = "made_by")]
    trace_fingerprint: String,
}

#[derive(Deserialize)]
struct TraceLineCall<'a> {
    predictor: String,
    lm: String,
    #[serde(borrow)]
    messages: &'a RawValue,
    usage: Usage,
    finish_reason: Option<String>,
    #[serde(default)]
    unparsed: Vec<Unparsed>,
    #[serde(borrow, default)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    assistant: &'a RawValue,
}

#[derive(Deserialize)]
struct Unparsed {
    usage: Usage,
}

impl LineIndex {
    /// What its answers cost, by LM in order of first use.
    pub fn spent(&self) -> Vec<Spent> {
        let mut all = Vec::new();
        for call in &self.calls {
            Spent::add(&mut all, &call.lm, u64::from(call.exchanges), call.usage);
        }
        all
    }

    /// Reads a line (with or without its line feed).
    pub fn parse(line: &str) -> Result<LineIndex, NotATrace> {
        let parsed: TraceLine<'_> = serde_json::from_str(line)?;
        let range = |raw: &RawValue| {
            let start = raw.get().as_ptr() as usize - line.as_ptr() as usize;
            start as u32..(start + raw.get().len()) as u32
        };
        let calls = parsed
            .calls
            .into_iter()
            .map(|call| {
                let mut usage = call.usage;
                for unparsed in &call.unparsed {
                    usage += unparsed.usage;
                }
                CallIndex {
                    predictor: call.predictor,
                    lm: call.lm,
                    usage,
                    exchanges: 1 + call.unparsed.len() as u32,
                    finish_reason: call.finish_reason,
                    prompt: range(call.prompt.unwrap_or(call.messages)),
                    assistant: range(call.assistant),
                }
            })
            .collect();
        Ok(LineIndex {
            task: parsed.task,
            trace_fingerprint: parsed.trace_fingerprint,
            teacher: parsed.teacher,
            example: parsed.example,
            kept: parsed.kept,
            calls,
        })
    }
}
