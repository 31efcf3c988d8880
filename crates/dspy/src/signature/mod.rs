//! Signatures: the typed input and output fields of a predictor and its instructions, as `dspy.Signature` makes them.

mod annotation;
pub mod coerce;
mod constraint;
mod error;
mod field_info;
mod instructions;
mod parse;
mod prefix;
mod schema;
mod strict;
mod table;
mod tokens;
mod type_name;
mod types;

#[cfg(test)]
mod tests;

pub use annotation::parse_type;
pub use constraint::Constraint;
pub use error::SignatureError;
pub use schema::{json_schema, schema};
pub use strict::strict_schema;
pub(crate) use table::is_identifier;
pub use table::{TypeError, parse_types};
pub use type_name::{note, type_name};
pub use types::{EnumClass, FieldInfo, ModelClass, ModelField, NamedTypes, TupleItems, Type};

/// One input or output field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The Python identifier.
    pub name: String,
    /// The annotation, `str` if the signature has none.
    pub ty: Type,
    /// The description, `${name}` unless the job sets one (prompts hide that exact text).
    pub desc: String,
    /// The saved prefix: `infer_prefix(name)` and a colon, unless a saved state sets one. Prompts never show it.
    pub prefix: String,
}

/// The input fields, the output fields and the instructions.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// The cleaned text, as `Signature.instructions` returns it.
    pub instructions: String,
    /// The inputs, in declaration order.
    pub inputs: Vec<Field>,
    /// The outputs, in declaration order.
    pub outputs: Vec<Field>,
}

/// The output that `dspy.ChainOfThought` adds before the others.
const REASONING: &str = "reasoning";

impl Signature {
    /// Parses DSPy's mini-language, such as `text -> label: Literal['a', 'b'], score: float`. If `instructions` is
    /// `None` or empty, DSPy's default text is used.
    ///
    /// ```
    /// use bsft_dspy::signature::{Signature, Type, NamedTypes};
    ///
    /// let text = "text, lang: str -> label: Literal['ham', 'spam'], score: float";
    /// let signature = Signature::parse(text, None, &NamedTypes::default())?;
    /// assert_eq!(signature.inputs[0].ty, Type::Str);
    /// assert_eq!(signature.outputs[1].name, "score");
    /// assert_eq!(signature.instructions, "Given the fields `text`, `lang`, produce the fields `label`, `score`.");
    /// # Ok::<(), bsft_dspy::signature::SignatureError>(())
    /// ```
    pub fn parse(
        text: &str,
        instructions: Option<&str>,
        types: &NamedTypes,
    ) -> Result<Signature, SignatureError> {
        let (inputs, outputs) = parse::fields(text, types)?;
        let instructions = match instructions {
            Some(given) if !given.is_empty() => given.to_owned(),
            _ => instructions::default(&inputs, &outputs),
        };
        Ok(Signature {
            instructions: instructions::clean(&instructions),
            inputs,
            outputs,
        })
    }

    /// All fields, inputs first, as DSPy's `signature.fields`.
    pub fn fields(&self) -> impl Iterator<Item = &Field> {
        self.inputs.iter().chain(&self.outputs)
    }

    /// Replaces the instructions; an empty text restores DSPy's default.
    pub fn with_instructions(mut self, instructions: &str) -> Signature {
        instructions.clone_into(&mut self.instructions);
        self.rebuilt()
    }

    /// Replaces the description of a field. An unknown name or an unchanged description has no effect. Otherwise DSPy
    /// rebuilds the signature, which cleans the instructions again.
    pub fn with_desc(mut self, field: &str, desc: &str) -> Signature {
        match self.field_mut(field) {
            Some(field) if field.desc != desc => {
                desc.clone_into(&mut field.desc);
                self.rebuilt()
            }
            _ => self,
        }
    }

    /// Replaces the prefix of a field, as a saved state may do.
    pub fn with_prefix(mut self, field: &str, prefix: &str) -> Signature {
        if let Some(field) = self.field_mut(field) {
            prefix.clone_into(&mut field.prefix);
        }
        self
    }

    /// Adds `reasoning` as the first output, as `dspy.ChainOfThought` does. An existing output of that name moves to
    /// the front unchanged; an input of that name becomes the output.
    pub fn with_reasoning(mut self) -> Signature {
        self.inputs.retain(|field| field.name != REASONING);
        let at = self.outputs.iter().position(|field| field.name == REASONING);
        let reasoning = match at {
            Some(at) => self.outputs.remove(at),
            None => Field::new(REASONING.to_owned(), Type::Str),
        };
        self.outputs.insert(0, reasoning);
        self.rebuilt()
    }

    /// Rebuilds the signature from its cleaned instructions, or from the default if they are empty, as DSPy does.
    fn rebuilt(mut self) -> Signature {
        if self.instructions.is_empty() {
            self.instructions = instructions::default(&self.inputs, &self.outputs);
        }
        self.instructions = instructions::clean(&self.instructions);
        self
    }

    fn field_mut(&mut self, name: &str) -> Option<&mut Field> {
        self.inputs
            .iter_mut()
            .chain(&mut self.outputs)
            .find(|field| field.name == name)
    }
}

impl Field {
    /// Creates a field with DSPy's default description and prefix.
    pub fn new(name: String, ty: Type) -> Field {
        let desc = format!("${{{name}}}");
        let prefix = format!("{}:", prefix::infer(&name));
        Field {
            name,
            ty,
            desc,
            prefix,
        }
    }
}
