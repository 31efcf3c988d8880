//! A file of training rows, as the store, the artifacts and the providers know it.

use serde::{Deserialize, Serialize};

/// A file of rows, one `{"messages":[…]}` a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingFile {
    /// Its name in DIR's `data`.
    pub name: String,
    /// Lines.
    pub rows: u64,
    /// Length.
    pub bytes: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}
