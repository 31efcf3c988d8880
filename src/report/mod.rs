//! What a run reports: the manifest `run.json`, the live progress line, the summary, and the lines of `status`.

mod common_failure;
mod counts;
mod eta;
mod figures;
mod last_minute;
mod manifest;
mod progress;
mod status;
mod summary;

pub use common_failure::{CommonFailure, FailureMessages};
pub use counts::{LmTotals, OutcomeCounts, UnsettledTotals};
pub(crate) use figures::{count, time};
pub use last_minute::LastMinute;
pub use manifest::{FileReport, Manifest, Phase, ShardReport, TrainingReport};
pub use progress::{BootstrapState, Progress};
pub use status::{Depths, RunStatus};
pub use summary::summary;
pub(crate) use summary::summary_fields;

#[cfg(test)]
mod tests;
