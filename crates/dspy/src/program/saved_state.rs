//! DSPy's saved state of a compiled student: the JSON that `program.save("compiled.json")` writes and `program.load`
//! reads.

use super::BuildError;
use super::build::{demos_of, signature_of};
use super::{PredictorSpec, ProgramSettings, ProgramSpec};
use crate::lm::{LmArguments, is_reasoning_model};
use crate::signature::{NamedTypes, parse_types};
use bsft_pycompat::value::Value;
use bsft_pycompat::{float, json};

/// The `num_retries` of `dspy.LM` if the job file sets none.
const DSPY_NUM_RETRIES: u32 = 3;

/// The model that a training produced for one predictor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrainedModel<'a> {
    /// The full name of the new model, `None` if the LM keeps its own.
    pub model: Option<&'a str>,
    /// The address that serves the model, `None` if it is the LM's own.
    pub api_base: Option<&'a str>,
}

/// Returns the student's state with each predictor's model; `models` has one entry per predictor. If the program is a bare
/// Predict (named `self`), DSPy's layout is flat.
///
/// The state of a program with one predictor, `classify`, whose model was trained:
///
/// ```
/// use bsft_dspy::program::{TrainedModel, saved_state};
/// # use bsft_dspy::adapter::AdapterKind;
/// # use bsft_dspy::lm::LmArguments;
/// # use bsft_dspy::program::{ModuleKind, PredictorSpec, ProgramSettings, ProgramSpec};
/// # let spec = ProgramSpec {
/// #     predictors: vec![PredictorSpec {
/// #         name: "classify".to_owned(),
/// #         module: ModuleKind::Predict,
/// #         signature: "text -> label".to_owned(),
/// #         instructions: None,
/// #         desc: Default::default(),
/// #         prefix: Default::default(),
/// #         demos: vec![r#"{"text": "Hello", "label": "ham"}"#.to_owned()],
/// #         config: Default::default(),
/// #         inputs: Default::default(),
/// #         repeat: 1,
/// #         lm: "small".to_owned(),
/// #     }],
/// # };
/// # let none = serde_json::Map::new();
/// # let lm = LmArguments {
/// #     name: "small",
/// #     model: "openai/gpt-4.1-mini",
/// #     api_base: None,
/// #     temperature: Some(0.0),
/// #     max_tokens: None,
/// #     num_retries: None,
/// #     extra: &none,
/// # };
/// # let settings = ProgramSettings {
/// #     types: &none,
/// #     adapter: AdapterKind::Chat,
/// #     exclude_demos: false,
/// #     lms: vec![lm],
/// # };
///
/// let trained = TrainedModel {
///     model: Some("openai/ft:gpt-4.1-mini:acme::1"),
///     api_base: None,
/// };
/// let state: serde_json::Value = serde_json::from_str(&saved_state(&spec, &settings, &[trained])?)?;
/// assert_eq!(state["classify"]["lm"]["model"], "openai/ft:gpt-4.1-mini:acme::1");
/// assert_eq!(state["classify"]["demos"][0]["label"], "ham");
/// assert_eq!(state["classify"]["signature"]["fields"][0]["prefix"], "Text:");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn saved_state(
    student: &ProgramSpec,
    settings: &ProgramSettings<'_>,
    models: &[TrainedModel<'_>],
) -> Result<String, BuildError> {
    let types = parse_types(settings.types).map_err(|errors| {
        BuildError::Types(
            errors
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        )
    })?;
    let mut state = Vec::new();
    for (predictor, trained) in student.predictors.iter().zip(models) {
        let entry = predictor_state(settings, predictor, trained, &types)?;
        match predictor.predictor_name().as_str() {
            "self" => state.extend(entry),
            name => state.push((name.to_owned(), object(entry))),
        }
    }
    let versions = [("python", "3.11"), ("dspy", "3.4.1"), ("cloudpickle", "3.1")];
    let versions = object(versions.map(|(name, version)| (name.to_owned(), Value::from(version))));
    state.push((
        "metadata".to_owned(),
        object([("dependency_versions".to_owned(), versions)]),
    ));
    let mut out = String::new();
    write_pretty(&object(state), 0, &mut out);
    out.push('\n');
    Ok(out)
}

/// Whether a saved model has an address of its own. `program.load` drops that address and calls OpenAI, unless it is
/// called with `allow_unsafe_lm_state=True`.
pub fn has_private_models(
    student: &ProgramSpec,
    settings: &ProgramSettings<'_>,
    models: &[TrainedModel<'_>],
) -> bool {
    let mut predictors = student.predictors.iter().zip(models);
    predictors.any(|(predictor, trained)| {
        let lm = settings.lm(&predictor.lm);
        lm.is_some_and(|lm| address(lm, trained).is_some())
    })
}

fn address<'a>(lm: &LmArguments<'a>, trained: &TrainedModel<'a>) -> Option<&'a str> {
    trained.api_base.or(lm.api_base)
}

fn predictor_state(
    settings: &ProgramSettings<'_>,
    spec: &PredictorSpec,
    trained: &TrainedModel<'_>,
    types: &NamedTypes,
) -> Result<Vec<(String, Value)>, BuildError> {
    let predictor = spec.predictor_name();
    let signature = signature_of(spec, types).map_err(|source| BuildError::Signature {
        predictor: predictor.clone(),
        source,
    })?;
    let demos = if settings.exclude_demos {
        Vec::new()
    } else {
        demos_of(spec).map_err(|reason| BuildError::Demos {
            predictor: predictor.clone(),
            reason,
        })?
    };
    let lm = settings.lm(&spec.lm).ok_or_else(|| BuildError::UnknownLm {
        predictor,
        lm: spec.lm.clone(),
    })?;
    let fields = signature.fields().map(|field| {
        named([
            ("prefix", Value::from(field.prefix.as_str())),
            ("description", Value::from(field.desc.as_str())),
        ])
    });
    let signature_state = named([
        ("instructions", Value::from(signature.instructions.as_str())),
        ("fields", Value::list(fields)),
    ]);
    let demos = demos.into_iter().map(object);
    Ok([
        ("traces", Value::list([])),
        ("train", Value::list([])),
        ("demos", Value::list(demos)),
        ("signature", signature_state),
        ("lm", lm_state(lm, trained)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into())
}

/// The output of `LM.dump_state`, which never contains the key.
fn lm_state(lm: &LmArguments<'_>, trained: &TrainedModel<'_>) -> Value {
    let model = trained.model.unwrap_or(lm.model);
    let api_base = address(lm, trained);
    let mut state = vec![
        ("_dspy_lm_class", Value::from("dspy.clients.lm.LM")),
        ("model", Value::from(model)),
        ("model_type", Value::from("chat")),
        ("cache", Value::Bool(true)),
        (
            "num_retries",
            Value::Int(i64::from(lm.num_retries.unwrap_or(DSPY_NUM_RETRIES))),
        ),
        ("temperature", lm.temperature.map_or(Value::None, Value::Float)),
    ];
    let max_tokens = lm.max_tokens.map_or(Value::None, |n| Value::Int(n as i64));
    // For a reasoning model, DSPy renames the token limit and moves it to the end.
    let (limit, moved) = match (is_reasoning_model(lm.model), is_reasoning_model(model)) {
        (true, true) => (None, Some(("max_tokens", max_tokens))),
        (true, false) => (Some(("max_completion_tokens", max_tokens)), None),
        (false, _) => (Some(("max_tokens", max_tokens)), None),
    };
    state.extend(limit);
    state.extend(api_base.map(|api_base| ("api_base", Value::from(api_base))));
    state.extend(
        lm.extra
            .iter()
            .map(|(name, value)| (name.as_str(), json::from_serde(value))),
    );
    state.extend([
        ("finetuning_model", Value::None),
        ("launch_kwargs", Value::Dict(Vec::new())),
        ("train_kwargs", Value::Dict(Vec::new())),
    ]);
    state.extend(moved);
    named(state)
}

fn named<'a>(items: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    object(items.into_iter().map(|(name, value)| (name.to_owned(), value)))
}

fn object(items: impl IntoIterator<Item = (String, Value)>) -> Value {
    Value::Dict(
        items
            .into_iter()
            .map(|(name, value)| (Value::Str(name), value))
            .collect(),
    )
}

/// Writes orjson's layout with an indent of two spaces, and its float format.
fn write_pretty(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Dict(items) if !items.is_empty() => {
            out.push('{');
            for (i, (name, value)) in items.iter().enumerate() {
                next_line(i > 0, depth + 1, out);
                json::write_compact(name, out);
                out.push_str(": ");
                write_pretty(value, depth + 1, out);
            }
            next_line(false, depth, out);
            out.push('}');
        }
        Value::List(items) | Value::Tuple(items) | Value::Set(items) if !items.is_empty() => {
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                next_line(i > 0, depth + 1, out);
                write_pretty(&value, depth + 1, out);
            }
            next_line(false, depth, out);
            out.push(']');
        }
        Value::Float(number) => out.push_str(&float::orjson(*number)),
        plain => json::write_compact(plain, out),
    }
}

fn next_line(comma: bool, depth: usize, out: &mut String) {
    if comma {
        out.push(',');
    }
    out.push('\n');
    for _ in 0..depth {
        out.push_str("  ");
    }
}
