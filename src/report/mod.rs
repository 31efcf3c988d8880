//! What a person sees: the live line while a phase goes on, the summary when all is done.

mod figures;
mod manifest;
mod progress;
mod standing;
mod summary;
mod tally;

pub use manifest::{FileReport, Manifest, Phase, ShardReport, TrainingReport};
pub use progress::Progress;
pub use standing::{Depths, Standing};
pub use summary::summary;
pub(crate) use summary::summary_fields;
pub use tally::{LmTotals, Tally};
