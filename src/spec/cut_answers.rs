//! `compile.cut_answers`: what becomes of answers that the server cut or withheld, as their `finish_reason` shows.

use serde::{Deserialize, Serialize};

/// What becomes of an answer that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CutAnswers {
    /// It is used like any other, as in DSPy.
    #[default]
    Keep,
    /// Its example fails.
    Drop,
}

impl CutAnswers {
    /// Whether a job that does not name it has this value. Specs of earlier versions lack the key.
    pub fn is_default(&self) -> bool {
        *self == CutAnswers::default()
    }
}
