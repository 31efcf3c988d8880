//! The request that creates a job.

use super::super::http::CallError;
use super::super::{ServiceSpec, TrainingRequest};
use super::new_model_name;
use serde_json::{Map, Value as Json, json};

/// Seeds are below this: the protocol's are 31 bits.
const SEEDS: u64 = 1 << 31;

/// The longest value in a job's metadata, in characters.
const LONGEST_VALUE: usize = 512;

/// Fields that `extra` cannot set: the uploaded rows, and the key that finds the training again.
const OURS: [&str; 2] = ["training_file", "validation_file"];

/// The body, `extra` merged in last. An `extra` with top-level `hyperparameters` selects the protocol before `method`:
/// then `train` goes there, too, and there is no `method`.
pub(super) fn body(
    order: &TrainingRequest<'_>,
    spec: &ServiceSpec,
    azure: bool,
    rows: &str,
    validation: Option<&str>,
) -> Result<Json, String> {
    if let Some(problem) = extra_problem(&spec.extra) {
        return Err(problem);
    }
    let recipe = &order.shard.recipe;
    let mut body = json!({
        "model": recipe.base_model(),
        "training_file": rows,
        "suffix": new_model_name::suffix(spec, recipe, azure),
        "seed": recipe.seed % SEEDS,
    });
    if let Some(validation) = validation {
        body["validation_file"] = validation.into();
    }
    if spec.extra.contains_key("hyperparameters") {
        body["hyperparameters"] = Json::Object(recipe.train.clone())
    } else {
        body["method"] = json!({
            "type": "supervised",
            "supervised": {"hyperparameters": recipe.train},
        });
    }
    body["metadata"] = json!({
        "job_key": order.key,
        "bsft_run": cut(&order.run.0),
        "lm": cut(&recipe.lm),
    });
    merge(&mut body, &spec.extra);
    // `extra` may add metadata, but not replace the key that finds the training again.
    body["metadata"]["job_key"] = order.key.into();
    Ok(body)
}

/// Whether the server will not have a job with metadata; then nothing was carried out.
pub(super) fn refuses_metadata(error: &CallError) -> bool {
    matches!(error, CallError::Refused(no) if matches!(no.status, 400 | 422) && no.message.contains("metadata"))
}

/// Removes the metadata if the job did not ask for any: the training is then found by its file. Returns whether it did.
pub(super) fn forget_metadata(body: &mut Json, spec: &ServiceSpec) -> bool {
    let is_ours = !spec.extra.contains_key("metadata");
    is_ours
        && body
            .as_object_mut()
            .is_some_and(|body| body.remove("metadata").is_some())
}

/// Why that cannot be merged into the body.
pub(super) fn extra_problem(extra: &Map<String, Json>) -> Option<String> {
    if let Some(key) = OURS.into_iter().find(|key| extra.contains_key(*key)) {
        return Some(format!("extra: {key} is what bsft uploads; leave it out"));
    }
    let metadata = extra.get("metadata");
    (!metadata.is_none_or(Json::is_object))
        .then(|| "extra: metadata is a table of texts; write { team = \"…\" }".to_owned())
}

/// Objects are merged member by member; everything else replaces what was there.
fn merge(into: &mut Json, from: &Map<String, Json>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(place @ Json::Object(_)), Json::Object(members)) => merge(place, members),
            _ => into[key] = value.clone(),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_VALUE).collect()
}
