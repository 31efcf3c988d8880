//! The line of `traces.jsonl`: compact JSON whose `messages`, `prompt` and `assistant` are already the bytes of a training row.

use super::{Call, Exchange, Trace, UnusedExchange};
use crate::lm::Usage;
use crate::python::json::{write_compact, write_string, written_len};
use crate::value::{Record, Value};
use std::fmt::Write as _;

/// The bytes of an answer from which its place in a line is measured before the line is written. A line of many megabytes that grows step by
/// step is copied again and again.
const MEASURED: usize = 64 << 10;

impl Trace {
    /// The line, without its line feed. Each call is dropped once it is written.
    pub fn into_line(self) -> String {
        let size: usize = self.calls.iter().map(size_in_line).sum();
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
        write_fields_of(self.prediction.fields(&self.calls), &mut out);
        out.push_str(",\"calls\":[");
        for (i, call) in self.calls.into_iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            write_owned_call(call, &mut out);
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "],\"task\":\"{}\",\"made_by\":", self.task);
        write_string(&self.trace_fingerprint, &mut out);
        out.push('}');
        out
    }
}

/// About the bytes that a call takes in a line.
fn size_in_line(call: &Call) -> usize {
    let size = call.used.messages.len() * 2 + 512;
    let answer = &call.used.answer.text;
    if answer.len() < MEASURED {
        return size;
    }
    // The outputs are part of the answer, and come twice.
    size + 3 * written_len(answer) + written_len(&call.assistant) + 4096
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
    write_head(call, out);
    write_rest(call, out);
}

/// The same with little memory: the outputs are dropped before the rest is written, which is as large again.
fn write_owned_call(mut call: Call, out: &mut String) {
    write_head(&call, out);
    call.inputs = Record::new();
    call.outputs = Record::new();
    write_rest(&call, out);
}

/// A call up to its outputs.
fn write_head(call: &Call, out: &mut String) {
    out.push_str("{\"predictor\":");
    write_string(&call.predictor, out);
    out.push_str(",\"lm\":");
    write_string(&call.lm, out);
    out.push_str(",\"inputs\":");
    write_record(&call.inputs, out);
    out.push_str(",\"outputs\":");
    write_record(&call.outputs, out);
}

/// A call after its outputs.
fn write_rest(call: &Call, out: &mut String) {
    out.push(',');
    write_fields(&call.used, out);
    if !call.unparsed.is_empty() {
        write_exchanges(&call.unparsed, out, write_fields);
    }
    if let Some(prompt) = &call.prompt {
        out.push_str(",\"prompt\":");
        out.push_str(prompt);
    }
    out.push_str(",\"assistant\":");
    write_string(&call.assistant, out);
    out.push('}');
}

/// The key `unparsed` of a failure with its exchanges, and why each was not used.
pub(super) fn write_unused(unused: &[UnusedExchange], out: &mut String) {
    write_exchanges(unused, out, |unused, out| {
        out.push_str("\"adapter\":");
        write_string(unused.adapter.name(), out);
        out.push_str(",\"reason\":");
        write_string(&unused.reason, out);
        out.push(',');
        write_fields(&unused.exchange, out);
    });
}

/// The key `unparsed` with its exchanges, whose fields `write` adds.
fn write_exchanges<T>(exchanges: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push_str(",\"unparsed\":[");
    for (i, exchange) in exchanges.iter().enumerate() {
        out.push_str(if i > 0 { ",{" } else { "{" });
        write(exchange, out);
        out.push('}');
    }
    out.push(']');
}

fn write_fields(exchange: &Exchange, out: &mut String) {
    let answer = &exchange.answer;
    out.push_str("\"messages\":");
    out.push_str(&exchange.messages);
    out.push_str(",\"raw_answer\":");
    write_string(&answer.text, out);
    out.push_str(",\"usage\":");
    write_usage(answer.usage, out);
    if let Some(finish_reason) = &answer.finish_reason {
        out.push_str(",\"finish_reason\":");
        write_string(finish_reason, out);
    }
    if let Some(instead) = &answer.instead {
        out.push_str(",\"instead\":");
        out.push_str(&serde_json::to_string(instead).expect("strings and numbers serialise"));
    }
}

pub(super) fn write_usage(usage: Usage, out: &mut String) {
    write_number(out, "{\"prompt_tokens\":", usage.prompt_tokens);
    write_number(out, ",\"completion_tokens\":", usage.completion_tokens);
    if usage.unknown > 0 {
        write_number(out, ",\"unknown\":", usage.unknown);
    }
    out.push('}');
}

pub(super) fn write_number(out: &mut String, key: &str, number: u64) {
    let _ = write!(out, "{key}{number}");
}

pub(super) fn write_record(record: &Record, out: &mut String) {
    write_fields_of(record.iter().map(|(name, value)| (name.as_str(), value)), out);
}

/// Names and values, as an object.
fn write_fields_of<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>, out: &mut String) {
    out.push('{');
    for (i, (name, value)) in fields.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write_string(name, out);
        out.push(':');
        write_compact(value, out);
    }
    out.push('}');
}
