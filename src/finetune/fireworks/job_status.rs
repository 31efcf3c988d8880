//! The state and progress of a supervised fine-tuning job at Fireworks.

use crate::finetune::TrainingProgress;
use serde_json::Value as Json;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FireworksJobState {
    /// It has not ended.
    Goes,
    /// An unknown value, which is treated as running: services add new ones.
    Unknown,
    /// It ended with a model.
    Completed,
    /// It ended without a model.
    Failed,
    /// It was stopped, or is being deleted.
    Cancelled,
}

impl FireworksJobState {
    /// Maps the eighteen states of the SDK.
    pub(super) fn from_job(job: &Json) -> FireworksJobState {
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

/// The progress of a job.
pub(super) fn progress(job: &Json) -> TrainingProgress {
    let progress = &job["jobProgress"];
    TrainingProgress {
        status: job["state"].as_str().map(str::to_owned),
        epoch: progress["epoch"].as_f64(),
        percent: progress["percent"].as_f64(),
        message: status_message(job).or_else(|| cost(job).map(|cost| format!("estimated cost: {cost}"))),
        ..TrainingProgress::default()
    }
}

/// The reason why a job failed.
pub(super) fn failure(job: &Json) -> String {
    let state = job["state"].as_str().unwrap_or_default();
    status_message(job).unwrap_or_else(|| format!("the job ended as {state}, and Fireworks gives no reason"))
}

fn status_message(job: &Json) -> Option<String> {
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
