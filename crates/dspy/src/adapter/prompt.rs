//! The prompt parts that the chat and the JSON adapter share: field lists, header sections, the task and the demo
//! turns.

use super::{Adapter, FormatError, Message, ParseFailure, Role, value};
use crate::signature::{self, Field, Signature, Type};
use bsft_pycompat::text;
use bsft_pycompat::value::{Record, Value};
use std::fmt::{Debug, Write};

/// The first sentence of the structure's description.
pub(super) const STRUCTURE: &str =
    "All interactions will be structured in the following way, with the appropriate values filled in.";

/// The first sentence of an incomplete demo, and the text in place of its missing outputs.
const INCOMPLETE: &str =
    "This is an example of the task, though some input or output fields are not supplied.";
const NOT_SUPPLIED: &str = "Not supplied for this particular example. ";

/// The parts of a prompt in which adapters differ.
pub(super) trait Layout {
    /// The part of the system message that shows how turns look.
    fn structure(&self, signature: &Signature) -> String;

    /// The sentence that ends the current user turn.
    fn write_requirement(&self, signature: &Signature, out: &mut String);

    /// Writes an assistant turn, with `missing` in place of absent outputs.
    fn write_outputs(
        &self,
        signature: &Signature,
        outputs: &Record,
        missing: &Value,
    ) -> Result<String, FormatError>;

    /// Appends one input of a user turn to `out`.
    fn write_input(&self, field: &Field, value: &Value, out: &mut String) -> Result<(), FormatError> {
        write_section(field, value, out)
    }

    /// Parses an answer.
    fn read(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure>;
}

impl<L: Layout + Send + Sync + Debug> Adapter for L {
    fn prelude(&self, signature: &Signature, demos: &[Record]) -> Result<Vec<Message>, FormatError> {
        prelude(self, signature, demos)
    }

    fn user(&self, signature: &Signature, inputs: &Record) -> Result<String, FormatError> {
        user(self, signature, inputs)
    }

    fn assistant(&self, signature: &Signature, outputs: &Record) -> Result<String, FormatError> {
        self.write_outputs(signature, outputs, &Value::None)
    }

    fn parse(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
        self.read(signature, answer)
    }
}

/// Appends the present inputs of a user turn to `out`, without the requirement at the end.
fn write_inputs(
    layout: &impl Layout,
    signature: &Signature,
    inputs: &Record,
    out: &mut String,
) -> Result<(), FormatError> {
    for field in &signature.inputs {
        if let Some(value) = inputs.get(&field.name) {
            layout.write_input(field, value, out)?;
        }
    }
    Ok(())
}

/// The system message and the demo turns: incomplete demos first, then complete ones, as DSPy orders them.
fn prelude(
    layout: &impl Layout,
    signature: &Signature,
    demos: &[Record],
) -> Result<Vec<Message>, FormatError> {
    let mut messages = vec![Message {
        role: Role::System,
        content: system(layout, signature),
    }];
    let is_complete = |demo: &Record| {
        signature
            .fields()
            .all(|f| !matches!(demo.get(&f.name), None | Some(Value::None)))
    };
    let is_usable = |demo: &Record| {
        let any = |fields: &[Field]| fields.iter().any(|f| demo.contains_key(&f.name));
        any(&signature.inputs) && any(&signature.outputs)
    };
    let (complete, incomplete): (Vec<_>, Vec<_>) = demos.iter().partition(|demo| is_complete(demo));
    let not_supplied = Value::from(NOT_SUPPLIED);
    let incomplete = incomplete
        .into_iter()
        .filter(|demo| is_usable(demo))
        .map(|demo| (demo, INCOMPLETE));
    for (demo, opening) in incomplete.chain(complete.into_iter().map(|demo| (demo, ""))) {
        let mut content = opening.to_owned();
        write_inputs(layout, signature, demo, &mut content)?;
        strip_end(&mut content);
        messages.push(Message {
            role: Role::User,
            content,
        });
        messages.push(Message {
            role: Role::Assistant,
            content: layout.write_outputs(signature, demo, &not_supplied)?,
        });
    }
    Ok(messages)
}

/// The current user turn.
fn user(layout: &impl Layout, signature: &Signature, inputs: &Record) -> Result<String, FormatError> {
    let mut out = String::with_capacity(512);
    write_inputs(layout, signature, inputs, &mut out)?;
    separate(&mut out);
    layout.write_requirement(signature, &mut out);
    Ok(out)
}

/// Writes a field's header line and value, after a blank line unless `out` is empty.
pub(super) fn write_section(field: &Field, value: &Value, out: &mut String) -> Result<(), FormatError> {
    separate(out);
    out.push_str("[[ ## ");
    out.push_str(&field.name);
    out.push_str(" ## ]]\n");
    value::write(value, &field.ty, out).map_err(|reason| FormatError {
        field: field.name.clone(),
        reason: reason.to_string(),
    })
}

pub(super) fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str("\n\n");
    }
}

/// `out.rstrip()`; no text here starts with white space.
pub(super) fn strip_end(out: &mut String) {
    out.truncate(text::rstrip(out).len());
}

/// The placeholder of an output in the structure: its name in braces, then the note on its type.
pub(super) fn placeholder(field: &Field) -> String {
    let note = signature::note(&field.ty);
    match note {
        Some(note) => format!("{{{}}}        # note: the value you produce {note}", field.name),
        None => format!("{{{}}}", field.name),
    }
}

/// Writes the type after a field's name in the requirement, except for `str`.
pub(super) fn write_type_hint(field: &Field, out: &mut String) {
    if field.ty != Type::Str {
        out.push_str(" (must be formatted as a valid Python ");
        out.push_str(&signature::type_name(&field.ty));
        out.push(')');
    }
}

fn system(layout: &impl Layout, signature: &Signature) -> String {
    format!(
        "Your input fields are:\n{}\nYour output fields are:\n{}\n{}\nIn adhering to this structure, your objective is: {}",
        field_list(&signature.inputs),
        field_list(&signature.outputs),
        layout.structure(signature),
        objective(&signature.instructions),
    )
}

/// One numbered line per field. The list is stripped as a whole, so a last field without description ends in its colon.
fn field_list(fields: &[Field]) -> String {
    let mut out = String::new();
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let shown =
            field.desc.strip_prefix("${").and_then(|d| d.strip_suffix('}')) != Some(field.name.as_str());
        let desc = if shown { field.desc.as_str() } else { "" };
        let ty = signature::type_name(&field.ty);
        write!(out, "{}. `{}` ({ty}): {desc}", i + 1, field.name)
            .expect("a string takes all that is written");
    }
    strip_end(&mut out);
    out
}

/// The instructions, each line indented by eight spaces.
fn objective(instructions: &str) -> String {
    let mut out = String::new();
    for line in text::split_lines(&dedent(instructions)) {
        out.push_str("\n        ");
        out.push_str(line);
    }
    out
}

/// `textwrap.dedent`: removes the tabs and spaces that all lines share, and empties the lines of only white space.
fn dedent(text: &str) -> String {
    let is_blank = |line: &str| line.bytes().all(|b| matches!(b, b' ' | b'\t'));
    let indent = |line: &'_ str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let mut margin: Option<&str> = None;
    for line in text.split('\n').filter(|line| !is_blank(line)) {
        let own = &line[..indent(line)];
        margin = Some(margin.map_or(own, |m| {
            let shared = m.bytes().zip(own.bytes()).take_while(|(a, b)| a == b).count();
            &m[..shared]
        }));
    }
    let margin = margin.map_or(0, str::len);
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| if is_blank(line) { "" } else { &line[margin..] })
        .collect();
    lines.join("\n")
}
