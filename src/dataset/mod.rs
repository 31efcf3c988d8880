//! Traces to training files: which rows there are, in which order each LM key gets them, and their bytes.
//!
//! Nothing here holds a row: rows are byte ranges of `traces.jsonl`, and a training file is copied together from them.

mod rows;
mod shards;
mod write;

pub use rows::{Row, Rows, TraceSlot};
pub use shards::{LmKey, lm_keys};
pub use write::{DataFile, write_data};
