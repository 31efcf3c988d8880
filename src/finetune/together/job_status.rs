//! The status and progress of a fine-tune job at Together.

use crate::finetune::TrainingProgress;
use serde_json::Value as Json;

/// The status of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TogetherJobStatus {
    /// It has not ended.
    Goes,
    /// An unknown value, which is treated as running: services add new ones.
    Unknown,
    /// It ended with a model.
    Completed,
    /// It ended without a model.
    Failed,
    /// It was stopped.
    Cancelled,
}

impl TogetherJobStatus {
    /// The status of a job.
    pub(super) fn from_job(job: &Json) -> TogetherJobStatus {
        match job["status"].as_str().unwrap_or_default() {
            "completed" => TogetherJobStatus::Completed,
            "error" | "user_error" => TogetherJobStatus::Failed,
            "cancelled" => TogetherJobStatus::Cancelled,
            "pending" | "queued" | "running" | "compressing" | "uploading" | "cancel_requested" => {
                TogetherJobStatus::Goes
            }
            _ => TogetherJobStatus::Unknown,
        }
    }

    /// Whether the job has not ended.
    pub(super) fn goes_on(self) -> bool {
        match self {
            TogetherJobStatus::Goes | TogetherJobStatus::Unknown => true,
            TogetherJobStatus::Completed | TogetherJobStatus::Failed | TogetherJobStatus::Cancelled => false,
        }
    }
}

/// The progress of a job, from its own fields and its events.
pub(super) fn progress(job: &Json, events: &[Json]) -> TrainingProgress {
    let counter = |key: &str| {
        let number = |value: &Json| value[key].as_u64();
        number(job).or_else(|| in_order(events).iter().rev().find_map(|event| number(event)))
    };
    let step = counter("steps_completed").or_else(|| counter("step"));
    let total_steps = counter("total_steps").filter(|steps| *steps > 0);
    TrainingProgress {
        status: job["status"].as_str().map(str::to_owned),
        step,
        total_steps,
        epoch: job["epochs_completed"].as_f64(),
        loss: None,
        percent: step
            .zip(total_steps)
            .map(|(step, of)| 100.0 * step as f64 / of as f64),
        message: latest(events),
    }
}

/// The latest message of the events, on one line.
pub(super) fn latest(events: &[Json]) -> Option<String> {
    let message = in_order(events).last()?["message"].as_str()?;
    Some(message.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The events sorted by time, since their order is not guaranteed. All times have one format, so they sort as text.
fn in_order(events: &[Json]) -> Vec<&Json> {
    let mut events: Vec<&Json> = events.iter().collect();
    events.sort_by_key(|event| event["created_at"].as_str().unwrap_or_default());
    events
}

/// The last training loss among a job's metrics.
pub(super) fn last_loss(metrics: &Json) -> Option<f64> {
    let rows = metrics["metrics"].as_array()?;
    rows.iter().rev().find_map(|row| row["train/loss"].as_f64())
}
