//! `dspy.ChatAdapter`: every field under a header line `[[ ## name ## ]]`.

use super::prompt::{self, Layout};
use super::{FormatError, ParseFailure, answer};
use crate::signature::{Field, Signature, Type, coerce};
use bsft_pycompat::text;
use bsft_pycompat::value::{Record, Value};
use std::borrow::Cow;
use std::fmt::Write;

/// `dspy.ChatAdapter()`.
#[derive(Clone, Copy, Debug)]
pub struct ChatAdapter;

impl Layout for ChatAdapter {
    fn structure(&self, signature: &Signature) -> String {
        let mut out = prompt::STRUCTURE.to_owned();
        for field in &signature.inputs {
            write!(out, "\n\n[[ ## {0} ## ]]\n{{{0}}}", field.name)
                .expect("a string takes all that is written");
        }
        for field in &signature.outputs {
            let content = prompt::placeholder(field);
            write!(out, "\n\n[[ ## {} ## ]]\n{content}", field.name)
                .expect("a string takes all that is written");
        }
        out.push_str("\n\n[[ ## completed ## ]]");
        out
    }

    fn write_requirement(&self, signature: &Signature, out: &mut String) {
        out.push_str("Respond with the corresponding output fields, starting with the field ");
        for (i, field) in signature.outputs.iter().enumerate() {
            if i > 0 {
                out.push_str(", then ");
            }
            out.push_str("`[[ ## ");
            out.push_str(&field.name);
            out.push_str(" ## ]]`");
            prompt::write_type_hint(field, out);
        }
        out.push_str(", and then ending with the marker for `[[ ## completed ## ]]`.");
    }

    fn write_outputs(
        &self,
        signature: &Signature,
        outputs: &Record,
        missing: &Value,
    ) -> Result<String, FormatError> {
        let mut out = String::with_capacity(256);
        for field in &signature.outputs {
            prompt::write_section(field, outputs.get(&field.name).unwrap_or(missing), &mut out)?;
        }
        prompt::strip_end(&mut out);
        out.push_str("\n\n[[ ## completed ## ]]\n");
        Ok(out)
    }

    fn read(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
        parse(signature, answer)
    }
}

fn parse(signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
    if answer.is_empty() {
        return Err(answer::empty());
    }
    let answer = newlines(answer);
    let mut found: Vec<Option<Value>> = vec![None; signature.outputs.len()];
    // The start of the open section's content, and the index of its output field.
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    while at < answer.len() {
        let end = answer[at..].find('\n').map_or(answer.len(), |n| at + n);
        let line = &answer[at..end];
        if let Some((name, content)) = header(line) {
            if let Some((field, start)) = open.take() {
                found[field] = Some(field_value(&signature.outputs[field], &answer[start..at])?);
            }
            open = signature
                .outputs
                .iter()
                .position(|f| f.name == name)
                .filter(|&field| found[field].is_none())
                .map(|field| (field, at + content));
        }
        at = end + 1;
    }
    if let Some((field, start)) = open {
        found[field] = Some(field_value(&signature.outputs[field], &answer[start..])?);
    }
    answer::complete(signature, found)
}

/// Replaces every line break that Python's `splitlines` knows with `\n`.
fn newlines(answer: &str) -> Cow<'_, str> {
    let other = |b: &u8| matches!(b, 0x0b..=0x0d | 0x1c..=0x1e | 0xc2 | 0xe2);
    if !answer.as_bytes().iter().any(other) {
        return Cow::Borrowed(answer);
    }
    let mut out = String::with_capacity(answer.len());
    for line in text::split_lines(answer) {
        out.push_str(line);
        out.push('\n');
    }
    Cow::Owned(out)
}

/// The name in a header line, and the byte offset at which its content starts.
fn header(line: &str) -> Option<(&str, usize)> {
    let stripped = text::strip(line);
    let after = stripped.strip_prefix("[[ ## ")?;
    let name_len = after.find(|c| !text::is_word(c)).filter(|&len| len > 0)?;
    let (name, rest) = after.split_at(name_len);
    rest.strip_prefix(" ## ]]")?;
    let matched = "[[ ## ".len() + name_len + " ## ]]".len();
    if line.starts_with('[') {
        return Some((name, matched));
    }
    // DSPy measures the header in the stripped line but cuts the unstripped line, so indented content starts early.
    let characters = stripped[..matched].chars().count();
    let cut = line
        .char_indices()
        .nth(characters)
        .map_or(line.len(), |(at, _)| at);
    Some((name, cut))
}

/// Parses the value of a section. `content` starts in the header's line, whose rest DSPy strips separately.
fn field_value(field: &Field, content: &str) -> Result<Value, ParseFailure> {
    let stripped = text::strip(content);
    let same_line = content.find('\n').map_or(content, |n| &content[..n]);
    let first = text::strip(same_line);
    let text = if first.is_empty() || stripped.len() == first.len() || same_line.ends_with(first) {
        Cow::Borrowed(stripped)
    } else {
        let rest = text::rstrip(&content[same_line.len()..]);
        Cow::Owned(format!("{first}{rest}"))
    };
    if field.ty == Type::Str {
        return Ok(Value::Str(text.into_owned()));
    }
    coerce::from_text(&text, &field.ty).map_err(|error| answer::unreadable(&field.name, &error, None))
}
