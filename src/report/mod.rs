//! What a run reports: the manifest `run.json`, the live progress line, the summary, and the lines of `status`.

mod counts;
mod eta;
mod figures;
mod last_minute;
mod manifest;
mod progress;
mod status;
mod summary;

pub use counts::{LmTotals, OutcomeCounts};
pub use last_minute::LastMinute;
pub use manifest::{FileReport, Manifest, Phase, ShardReport, TrainingReport};
pub use progress::Progress;
pub use status::{Depths, RunStatus};
pub use summary::summary;
pub(crate) use summary::summary_fields;

#[cfg(test)]
mod tests;
