//! Builds a runnable program from a checked program spec.

use super::{ModuleKind, Predictor, PredictorSpec, Program, ProgramSettings, ProgramSpec};
use crate::adapter::{Adapter, AdapterKind, FormatError, JsonAdapter, Message, structured};
use crate::lm::RequestBody;
use crate::signature::{NamedTypes, Signature, SignatureError, parse_types};
use bsft_pycompat::json;
use bsft_pycompat::value::{Record, Value};

/// Why a program cannot be built. `bsft check` reports these errors before any LM call.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A definition of a named type is invalid.
    #[error("types: {0}")]
    Types(String),
    /// A signature is invalid.
    #[error("predictor {predictor}: {source}")]
    Signature {
        /// The predictor's name.
        predictor: String,
        /// The cause.
        source: SignatureError,
    },
    /// A demo is not a JSON object, or contains a value that no prompt can show.
    #[error("predictor {predictor}: demos: {reason}")]
    Demos {
        /// The predictor's name.
        predictor: String,
        /// The cause.
        reason: String,
    },
    /// The LM's arguments cannot be sent.
    #[error("predictor {predictor}: {reason}")]
    Arguments {
        /// The predictor's name.
        predictor: String,
        /// The cause.
        reason: String,
    },
    /// The predictor names an LM that the job does not define.
    #[error("predictor {predictor} names the lm {lm:?}, which the job does not define")]
    UnknownLm {
        /// The predictor's name.
        predictor: String,
        /// The LM's name.
        lm: String,
    },
}

impl Program {
    /// Builds the program, and renders the parts of its prompts that no example changes.
    pub fn build(program: &ProgramSpec, settings: &ProgramSettings<'_>) -> Result<Program, BuildError> {
        let types = parse_types(settings.types).map_err(|errors| {
            BuildError::Types(
                errors
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            )
        })?;
        let predictors = program
            .predictors
            .iter()
            .map(|spec| build(spec, settings, &types))
            .collect::<Result<_, _>>()?;
        Ok(Program { predictors })
    }
}

/// Returns the predictor's signature as its module shows it to the LM.
pub(crate) fn signature_of(spec: &PredictorSpec, types: &NamedTypes) -> Result<Signature, SignatureError> {
    let mut signature = Signature::parse(&spec.signature, spec.instructions.as_deref(), types)?;
    for (field, desc) in &spec.desc {
        signature = signature.with_desc(field, desc);
    }
    if spec.module == ModuleKind::ChainOfThought {
        signature = signature.with_reasoning();
    }
    // The field descriptions of a saved state refer to the finished signature, including `reasoning`.
    for (field, desc) in &spec.desc {
        signature = signature.with_desc(field, desc);
    }
    for (field, prefix) in &spec.prefix {
        signature = signature.with_prefix(field, prefix);
    }
    Ok(signature)
}

/// Parses the predictor's demos into values.
pub(crate) fn demos_of(spec: &PredictorSpec) -> Result<Vec<Record>, String> {
    spec.demos
        .iter()
        .map(|text| match json::parse(text) {
            Ok(Value::Dict(items)) => Ok(record(items)),
            Ok(_) => Err(format!("{text} is not an object")),
            Err(error) => Err(format!("{text}: {error}")),
        })
        .collect()
}

fn record(items: Vec<(Value, Value)>) -> Record {
    let named = |(name, value)| match name {
        Value::Str(name) => Some((name, value)),
        _ => None, // JSON has string keys only
    };
    items.into_iter().filter_map(named).collect()
}

fn build(
    spec: &PredictorSpec,
    settings: &ProgramSettings<'_>,
    types: &NamedTypes,
) -> Result<Predictor, BuildError> {
    let predictor = || spec.predictor_name();
    let signature = signature_of(spec, types).map_err(|source| BuildError::Signature {
        predictor: predictor(),
        source,
    })?;
    let demos = demos_of(spec).map_err(|reason| BuildError::Demos {
        predictor: predictor(),
        reason,
    })?;
    let lm = settings.lm(&spec.lm).ok_or_else(|| BuildError::UnknownLm {
        predictor: predictor(),
        lm: spec.lm.clone(),
    })?;
    let body = RequestBody::new(lm, &spec.config).map_err(|error| BuildError::Arguments {
        predictor: predictor(),
        reason: error.to_string(),
    })?;
    let unformatted = |error: FormatError| BuildError::Demos {
        predictor: predictor(),
        reason: error.to_string(),
    };
    let adapter = settings.adapter.adapter();
    let prelude = open_array(adapter, &signature, &demos).map_err(unformatted)?;
    let row_prelude = if settings.exclude_demos && !demos.is_empty() {
        Some(open_array(adapter, &signature, &[]).map_err(unformatted)?)
    } else {
        None
    };
    let retry_prelude = match settings.adapter {
        AdapterKind::Json => None,
        AdapterKind::Chat | AdapterKind::Xml => {
            Some(open_array(&JsonAdapter, &signature, &demos).map_err(unformatted)?)
        }
    };
    let response_format = structured::response_format(lm.model, &signature);
    let wiring = signature
        .inputs
        .iter()
        .map(|field| {
            let key = spec.inputs.get(&field.name).unwrap_or(&field.name);
            (field.name.clone(), key.clone())
        })
        .collect();
    Ok(Predictor {
        name: predictor(),
        lm: spec.lm.clone(),
        signature,
        adapter: settings.adapter,
        body,
        prelude,
        row_prelude,
        retry_prelude,
        response_format,
        wiring,
        repeat: spec.repeat,
    })
}

fn open_array(adapter: &dyn Adapter, signature: &Signature, demos: &[Record]) -> Result<String, FormatError> {
    let messages: Vec<Message> = adapter.prelude(signature, demos)?;
    let mut json = serde_json::to_string(&messages).expect("messages are plain strings");
    json.pop();
    Ok(json)
}
