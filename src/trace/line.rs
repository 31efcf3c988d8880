//! The line of `traces.jsonl`: compact JSON whose `messages`, `prompt` and `assistant` are already the bytes of a training row.

use super::{Call, Exchange, Trace};
use crate::lm::Usage;
use crate::python::json::{write_compact, write_string};
use crate::value::Record;
use std::fmt::Write as _;

impl Trace {
    /// The line, without its line feed.
    pub fn to_line(&self) -> String {
        let size: usize = self.calls.iter().map(|c| c.used.messages.len() * 2 + 512).sum();
        let mut out = String::with_capacity(size + 512);
        write_number(&mut out, "{\"teacher\":", u64::from(self.teacher));
        write_number(&mut out, ",\"example\":", u64::from(self.example));
        out.push_str(",\"score\":");
        write_compact(&self.score, &mut out);
        out.push_str(if self.kept {
            ",\"kept\":true"
        } else {
            ",\"kept\":false"
        });
        out.push_str(",\"prediction\":");
        write_record(&self.prediction, &mut out);
        out.push_str(",\"calls\":[");
        write_calls(&self.calls, &mut out);
        // Writing to a String cannot fail.
        let _ = write!(out, "],\"task\":\"{}\",\"made_by\":", self.task);
        write_string(&self.trace_fingerprint, &mut out);
        out.push('}');
        out
    }
}

/// The calls, separated by commas.
pub(super) fn write_calls(calls: &[Call], out: &mut String) {
    for (i, call) in calls.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_call(call, out);
    }
}

fn write_call(call: &Call, out: &mut String) {
    out.push_str("{\"predictor\":");
    write_string(&call.predictor, out);
    out.push_str(",\"lm\":");
    write_string(&call.lm, out);
    out.push_str(",\"inputs\":");
    write_record(&call.inputs, out);
    out.push_str(",\"outputs\":");
    write_record(&call.outputs, out);
    out.push(',');
    write_fields(&call.used, out);
    if !call.unparsed.is_empty() {
        write_exchanges(&call.unparsed, out);
    }
    if let Some(prompt) = &call.prompt {
        out.push_str(",\"prompt\":");
        out.push_str(prompt);
    }
    out.push_str(",\"assistant\":");
    write_string(&call.assistant, out);
    out.push('}');
}

/// The key `unparsed` with its exchanges.
pub(super) fn write_exchanges(unparsed: &[Exchange], out: &mut String) {
    out.push_str(",\"unparsed\":[");
    for (i, exchange) in unparsed.iter().enumerate() {
        out.push_str(if i > 0 { ",{" } else { "{" });
        write_fields(exchange, out);
        out.push('}');
    }
    out.push(']');
}

fn write_fields(exchange: &Exchange, out: &mut String) {
    out.push_str("\"messages\":");
    out.push_str(&exchange.messages);
    out.push_str(",\"raw_answer\":");
    write_string(&exchange.raw_answer, out);
    out.push_str(",\"usage\":");
    write_usage(exchange.usage, out);
}

pub(super) fn write_usage(usage: Usage, out: &mut String) {
    write_number(out, "{\"prompt_tokens\":", usage.prompt_tokens);
    write_number(out, ",\"completion_tokens\":", usage.completion_tokens);
    out.push('}');
}

pub(super) fn write_number(out: &mut String, key: &str, number: u64) {
    let _ = write!(out, "{key}{number}");
}

pub(super) fn write_record(record: &Record, out: &mut String) {
    out.push('{');
    for (i, (name, value)) in record.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_compact(value, out);
    }
    out.push('}');
}
