//! The field names of a predictor's signature, in DSPy's order.

use crate::program::ModuleKind;
use crate::signature::{Field, NamedTypes, Signature, SignatureError};

/// A predictor's fields by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct FieldNames {
    pub(super) inputs: Vec<String>,
    /// `reasoning` of ChainOfThought is included.
    pub(super) outputs: Vec<String>,
}

impl FieldNames {
    /// Parses a signature text, or returns what is wrong with it.
    pub(super) fn parse(
        text: &str,
        module: ModuleKind,
        types: &NamedTypes,
    ) -> Result<FieldNames, SignatureError> {
        let mut signature = Signature::parse(text, None, types)?;
        if module == ModuleKind::ChainOfThought {
            signature = signature.with_reasoning();
        }
        let names = |fields: Vec<Field>| fields.into_iter().map(|field| field.name).collect();
        Ok(FieldNames {
            inputs: names(signature.inputs),
            outputs: names(signature.outputs),
        })
    }

    /// All names, inputs first: the order in which DSPy saves fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> + Clone {
        self.inputs.iter().chain(&self.outputs).map(String::as_str)
    }
}
