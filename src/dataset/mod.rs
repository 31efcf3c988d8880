//! From traces to training files: the index of the rows, their order for each LM key, and the export.
//!
//! No row is kept in memory: rows are byte ranges of `traces.jsonl`, and a training file is copied from them.

mod checks;
mod empty_answer;
mod export;
mod lm_keys;
mod row_index;
pub mod trainer_configs;
mod validation_split;

pub use checks::{BYTES_PER_TOKEN, Checks, RowRules};
pub use export::{DataFile, ExportRequest, ExportResult, write_data};
pub use lm_keys::{LmKey, lm_keys};
pub use row_index::{RowIndex, RowSpan, TraceSlot};
pub use validation_split::Split;

#[cfg(test)]
mod tests;
