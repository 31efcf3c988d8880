//! What a person sees: the live line while a phase goes on, the summary when all is done.

mod counts;
mod figures;
mod manifest;
mod progress;
mod status;
mod summary;

pub use counts::{LmTotals, OutcomeCounts};
pub use manifest::{FileReport, Manifest, Phase, ShardReport, TrainingReport};
pub use progress::Progress;
pub use status::{Depths, RunStatus};
pub use summary::summary;
pub(crate) use summary::summary_fields;
