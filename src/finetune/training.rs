//! The state, progress, result and outcome of a training.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a training at its provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingState {
    /// It has not ended.
    Running(TrainingProgress),
    /// It ended with a model.
    Succeeded(TrainingResult),
    /// It ended without a model, for this reason.
    Failed(String),
    /// It was stopped.
    Cancelled,
    /// There is no training with that id. With deterministic ids ([`super::Provider::deterministic_id`]): it was not started yet.
    Absent,
}

/// The progress of a running training. Every field is optional, because providers report different ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingProgress {
    /// The provider's own name of its state, such as `validating_files`.
    pub status: Option<String>,
    /// The number of completed steps.
    pub step: Option<u64>,
    /// Total number of steps, if known.
    pub total_steps: Option<u64>,
    /// The number of completed passes over the data.
    pub epoch: Option<f64>,
    /// The latest training loss.
    pub loss: Option<f64>,
    /// The completed share, 0 to 100.
    pub percent: Option<f64>,
    /// The latest message, on one line.
    pub message: Option<String>,
}

impl fmt::Display for TrainingProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match (self.step, self.total_steps) {
            (Some(step), Some(total)) => Some(format!("step {step}/{total}")),
            (Some(step), None) => Some(format!("step {step}")),
            (None, _) => None,
        };
        let parts = [
            self.status.clone(),
            self.percent.map(|percent| format!("{percent:.0} %")),
            step,
            self.epoch.map(|epoch| format!("epoch {epoch:.2}")),
            self.loss.map(|loss| format!("loss {loss:.4}")),
            self.message.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return f.write_str("running");
        }
        f.write_str(&parts.join(" "))
    }
}

/// The result of a successful training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingResult {
    /// The new model, as DSPy's `LM(model=…)` accepts it. `None` if nothing was trained: the user trains on the exported rows.
    pub model: Option<String>,
    /// The address of the server that serves it. `None` if it is the server of the student's LM.
    pub api_base: Option<String>,
    /// The number of billed tokens, if the provider reports it.
    pub tokens: Option<u64>,
    /// The last training loss, if known.
    pub loss: Option<f64>,
}

/// The outcome of a training, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingOutcome {
    /// The provider's id. `None` if nothing was started.
    pub id: Option<TrainingId>,
    /// Never [`TrainingState::Running`] nor [`TrainingState::Absent`].
    pub training: TrainingState,
}

/// The id of a training at its provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainingId(pub String);
