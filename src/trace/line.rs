//! The line of `traces.jsonl`: compact JSON whose `messages`, `prompt` and `assistant` are already the bytes of a training row.

use super::{Call, Exchange, Trace};
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
        for (i, call) in self.calls.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            call.write(&mut out);
        }
        // Writing to a String cannot fail.
        let _ = write!(out, "],\"task\":\"{}\",\"made_by\":", self.task);
        write_string(&self.made_by, &mut out);
        out.push('}');
        out
    }
}

impl Call {
    fn write(&self, out: &mut String) {
        out.push_str("{\"predictor\":");
        write_string(&self.predictor, out);
        out.push_str(",\"lm\":");
        write_string(&self.lm, out);
        out.push_str(",\"inputs\":");
        write_record(&self.inputs, out);
        out.push_str(",\"outputs\":");
        write_record(&self.outputs, out);
        out.push(',');
        self.used.write_fields(out);
        if !self.unparsed.is_empty() {
            out.push_str(",\"unparsed\":[");
            for (i, exchange) in self.unparsed.iter().enumerate() {
                out.push_str(if i > 0 { ",{" } else { "{" });
                exchange.write_fields(out);
                out.push('}');
            }
            out.push(']');
        }
        if let Some(prompt) = &self.prompt {
            out.push_str(",\"prompt\":");
            out.push_str(prompt);
        }
        out.push_str(",\"assistant\":");
        write_string(&self.assistant, out);
        out.push('}');
    }
}

impl Exchange {
    fn write_fields(&self, out: &mut String) {
        out.push_str("\"messages\":");
        out.push_str(&self.messages);
        out.push_str(",\"raw_answer\":");
        write_string(&self.raw_answer, out);
        write_number(out, ",\"usage\":{\"prompt_tokens\":", self.usage.prompt_tokens);
        write_number(out, ",\"completion_tokens\":", self.usage.completion_tokens);
        out.push('}');
    }
}

fn write_number(out: &mut String, key: &str, number: u64) {
    let _ = write!(out, "{key}{number}");
}

fn write_record(record: &Record, out: &mut String) {
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
