//! `dspy.JSONAdapter`: inputs under header lines as in chat, outputs as one JSON object.

use super::prompt::{self, Layout};
use super::{FormatError, ParseFailure, answer, value};
use crate::signature::{Signature, coerce};
use bsft_pycompat::value::{Record, Value};
use bsft_pycompat::{json, repair};

/// `dspy.JSONAdapter()`. DSPy cannot write training rows with it; here the answer of a row has the format of a demo's
/// answer.
#[derive(Clone, Copy, Debug)]
pub struct JsonAdapter;

impl Layout for JsonAdapter {
    fn structure(&self, signature: &Signature) -> String {
        let mut inputs = String::new();
        for field in &signature.inputs {
            if !inputs.is_empty() {
                inputs.push_str("\n\n");
            }
            inputs.push_str(&format!("[[ ## {0} ## ]]\n{{{0}}}", field.name));
        }
        let outputs = signature.outputs.iter();
        let outputs = outputs.map(|f| (Value::from(f.name.as_str()), Value::Str(prompt::placeholder(f))));
        let parts = [
            prompt::STRUCTURE,
            "Inputs will have the following structure:",
            &inputs,
            "Outputs will be a JSON object with the following fields.",
            &json::dumps_indent(&Value::Dict(outputs.collect()), 2),
        ];
        parts.join("\n\n")
    }

    fn write_requirement(&self, signature: &Signature, out: &mut String) {
        out.push_str("Respond with a JSON object in the following order of fields: ");
        for (i, field) in signature.outputs.iter().enumerate() {
            if i > 0 {
                out.push_str(", then ");
            }
            out.push('`');
            out.push_str(&field.name);
            out.push('`');
            prompt::write_type_hint(field, out);
        }
        out.push('.');
    }

    fn write_outputs(
        &self,
        signature: &Signature,
        outputs: &Record,
        missing: &Value,
    ) -> Result<String, FormatError> {
        let entries = signature.outputs.iter().map(|field| {
            let value = outputs.get(&field.name).unwrap_or(missing);
            (field.name.as_str(), value::jsonable(value))
        });
        let entries: Vec<_> = entries.collect();
        let members = entries.iter().map(|(name, value)| (*name, &**value));
        Ok(json::dumps_indent_members(members, 2))
    }

    fn read(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
        parse(signature, answer)
    }
}

fn parse(signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
    if answer.is_empty() {
        return Err(answer::empty());
    }
    let raw = fields(signature, answer)?;
    let mut found: Vec<Option<Value>> = vec![None; signature.outputs.len()];
    for (name, value) in raw {
        let Some(at) = signature.outputs.iter().position(|f| f.name == name) else {
            continue;
        };
        match coerce::from_value(value, &signature.outputs[at].ty) {
            Ok(read) => found[at] = Some(read),
            Err(error) => {
                // DSPy returns all fields: those before this one parsed, the others unparsed.
                let mut partial = fields(signature, answer)?;
                for (field, read) in signature.outputs.iter().zip(found) {
                    if let Some(read) = read {
                        partial.insert(field.name.clone(), read);
                    }
                }
                return Err(answer::unreadable(&name, &error, Some(partial)));
            }
        }
    }
    answer::complete(signature, found)
}

/// The output fields that the answer has, unparsed.
fn fields(signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
    let mut value = repair::loads(answer);
    if !matches!(value, Value::Dict(_))
        && let Some(object) = first_balanced(answer)
    {
        value = repair::loads(object);
    }
    let Value::Dict(entries) = value else {
        return Err(ParseFailure {
            reason: "the answer is not a JSON object".to_owned(),
            partial: None,
        });
    };
    let mut raw = Record::new();
    for (key, value) in entries {
        if let Value::Str(name) = key
            && signature.outputs.iter().any(|f| f.name == name)
        {
            raw.insert(name, value);
        }
    }
    Ok(raw)
}

/// Finds the first balanced pair of braces. Counts the braces inside strings too.
fn first_balanced(text: &str) -> Option<&str> {
    let mut opened = Vec::new();
    let mut first: Option<(usize, usize)> = None;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => opened.push(at),
            b'}' => {
                if let Some(start) = opened.pop()
                    && first.is_none_or(|(earliest, _)| start < earliest)
                {
                    first = Some((start, at + 1));
                    if opened.is_empty() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    first.map(|(start, end)| &text[start..end])
}
