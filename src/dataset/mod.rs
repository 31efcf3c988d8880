//! Traces to training files: which rows there are, in which order each LM key gets them, and their bytes.
//!
//! Nothing here holds a row: rows are byte ranges of `traces.jsonl`, and a training file is copied together from them.

mod checks;
pub mod configs;
mod rows;
mod shards;
mod split;
mod write;

pub use checks::{BYTES_PER_TOKEN, Checks};
pub use rows::{RowIndex, RowSpan, TraceSlot};
pub use shards::{LmKey, lm_keys};
pub use split::Split;
pub use write::{DataFile, ExportRequest, ExportResult, write_data};

#[cfg(test)]
mod tests;
