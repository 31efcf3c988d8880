//! `dspy.XMLAdapter`: every field in a tag of its name, lists, dicts and models as nested tags.

mod read;
mod write;

use super::prompt::{self, Layout};
use super::{FormatError, ParseFailure, value};
use crate::signature::{Field, Signature, Type};
use bsft_pycompat::value::{Record, Value};

/// `dspy.XMLAdapter()`.
#[derive(Clone, Copy, Debug)]
pub struct XmlAdapter;

impl Layout for XmlAdapter {
    fn structure(&self, signature: &Signature) -> String {
        let inputs = signature
            .inputs
            .iter()
            .map(|f| tagged(&f.name, &format!("{{{}}}", f.name)));
        let outputs = signature.outputs.iter().map(|field| {
            if is_nested(&field.ty) {
                write::hint(&field.name, &field.ty)
            } else {
                tagged(&field.name, &prompt::placeholder(field))
            }
        });
        let (inputs, outputs): (Vec<_>, Vec<_>) = (inputs.collect(), outputs.collect());
        [prompt::STRUCTURE, &inputs.join("\n\n"), &outputs.join("\n\n")].join("\n\n")
    }

    fn write_requirement(&self, signature: &Signature, out: &mut String) {
        out.push_str("Respond with the corresponding output fields wrapped in XML tags ");
        for (i, field) in signature.outputs.iter().enumerate() {
            if i > 0 {
                out.push_str(", then ");
            }
            out.push_str("`<");
            out.push_str(&field.name);
            out.push_str(">`");
        }
        out.push('.');
        let nested = signature.outputs.iter().filter(|field| is_nested(&field.ty));
        for (i, field) in nested.enumerate() {
            out.push_str(if i == 0 {
                " Use this nested XML structure: "
            } else {
                " "
            });
            out.push_str(&write::hint(&field.name, &field.ty));
        }
    }

    fn write_outputs(
        &self,
        signature: &Signature,
        outputs: &Record,
        missing: &Value,
    ) -> Result<String, FormatError> {
        let fields = signature.outputs.iter().map(|field| {
            let value = outputs.get(&field.name).unwrap_or(missing);
            let has_parts = matches!(
                value,
                Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) | Value::Model(_)
            );
            if has_parts && is_nested(&field.ty) {
                return Ok(write::nested(&field.name, &value::jsonable(value)));
            }
            let text = rendered(field, value)?;
            Ok(match field.ty {
                Type::Str => tagged(&field.name, &write::escaped(&text)),
                _ => tagged(&field.name, &text),
            })
        });
        Ok(fields.collect::<Result<Vec<_>, _>>()?.join("\n\n"))
    }

    fn write_input(&self, field: &Field, value: &Value, out: &mut String) -> Result<(), FormatError> {
        prompt::separate(out);
        out.push_str(&tagged(&field.name, &rendered(field, value)?));
        Ok(())
    }

    fn read(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure> {
        read::parse(signature, answer)
    }
}

fn tagged(name: &str, content: &str) -> String {
    format!("<{name}>\n{content}\n</{name}>")
}

fn rendered(field: &Field, value: &Value) -> Result<String, FormatError> {
    value::render(value, &field.ty).map_err(|reason| FormatError {
        field: field.name.clone(),
        reason: reason.to_string(),
    })
}

/// Whether DSPy writes and reads an output of this type as nested tags: a list or dict with an item type, a model, or
/// a nullable one of these.
fn is_nested(ty: &Type) -> bool {
    match ty {
        Type::List(Some(_)) | Type::Dict(Some(_)) | Type::Model(_) => true,
        Type::Union(members) => {
            let mut others = members.iter().filter(|member| **member != Type::None);
            matches!((others.next(), others.next()), (Some(one), None) if is_nested(one))
        }
        _ => false,
    }
}
