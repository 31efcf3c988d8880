//! A supervised fine-tuning job as the service tells of it.

use crate::finetune::TrainingProgress;
use serde_json::Value as Json;

/// What a state comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FireworksJobState {
    /// It has not ended.
    Goes,
    /// A word that is not known: services learn new ones. It has not ended, as far as anybody knows.
    Unknown,
    /// There is a model.
    Completed,
    /// It ended without one.
    Failed,
    /// It was stopped, or is being deleted.
    Cancelled,
}

impl FireworksJobState {
    /// The state of a job, of the SDK's eighteen.
    pub(super) fn of(job: &Json) -> FireworksJobState {
        let word = job["state"].as_str().unwrap_or_default();
        match word.strip_prefix("JOB_STATE_").unwrap_or_default() {
            "COMPLETED" | "EARLY_STOPPED" => FireworksJobState::Completed,
            "FAILED" | "EXPIRED" => FireworksJobState::Failed,
            "CANCELLED" | "DELETING" | "DELETING_CLEANING_UP" => FireworksJobState::Cancelled,
            "UNSPECIFIED"
            | "CREATING"
            | "RUNNING"
            | "WRITING_RESULTS"
            | "VALIDATING"
            | "PENDING"
            | "RE_QUEUEING"
            | "CREATING_INPUT_DATASET"
            | "IDLE"
            | "CANCELLING"
            | "PAUSED" => FireworksJobState::Goes,
            _ => FireworksJobState::Unknown,
        }
    }
}

/// How far the job is.
pub(super) fn progress(job: &Json) -> TrainingProgress {
    let told = &job["jobProgress"];
    TrainingProgress {
        status: job["state"].as_str().map(str::to_owned),
        epoch: told["epoch"].as_f64(),
        percent: told["percent"].as_f64(),
        message: said(job).or_else(|| cost(job).map(|cost| format!("estimated cost: {cost}"))),
        ..TrainingProgress::default()
    }
}

/// Why a job ended without a model.
pub(super) fn failure(job: &Json) -> String {
    let state = job["state"].as_str().unwrap_or_default();
    said(job).unwrap_or_else(|| format!("the job ended as {state}, and Fireworks does not say why"))
}

fn said(job: &Json) -> Option<String> {
    let message = job["status"]["message"].as_str()?;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

/// Units and billionths of a currency, as `1.25 USD`.
fn cost(job: &Json) -> Option<String> {
    let cost = &job["estimatedCost"];
    let units = match &cost["units"] {
        Json::Null => 0.0,
        Json::String(units) => units.parse().ok()?,
        units => units.as_f64()?,
    };
    let sum = units + cost["nanos"].as_f64().unwrap_or(0.0) / 1e9;
    Some(format!("{sum:.2} {}", cost["currencyCode"].as_str()?))
}
