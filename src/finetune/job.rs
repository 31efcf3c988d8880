//! A fine-tune job: one LM key's rows and what to train with them.

use super::spec::TrainingSpec;
use crate::task::TaskId;
use crate::training_file::TrainingFile;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The fine-tune job of one LM key: its rows, and what to train with them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneJob {
    /// The model, provider and settings.
    pub recipe: TrainingSpec,
    /// The training rows.
    pub data: TrainingFile,
    /// The validation rows.
    pub validation: Option<TrainingFile>,
}

impl FinetuneJob {
    /// The task id of the given attempt; its text form is the idempotency key. It is derived from everything that a training depends
    /// on, so the same rows and settings are the same training, and another attempt is another one.
    pub fn task(&self, attempt: u32) -> TaskId {
        let recipe = serde_json::to_vec(&self.recipe).expect("plain data serialises");
        let validation = self.validation.as_ref().map_or("", |file| &file.sha256);
        TaskId::derive(&[
            b"finetune",
            &recipe,
            self.data.sha256.as_bytes(),
            validation.as_bytes(),
            &attempt.to_le_bytes(),
        ])
    }

    /// The files with its training and validation rows.
    pub fn files(&self) -> impl Iterator<Item = &TrainingFile> {
        [&self.data].into_iter().chain(&self.validation)
    }
}

impl fmt::Display for FinetuneJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipe.fmt(f)
    }
}
