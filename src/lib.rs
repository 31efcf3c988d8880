//! bsft: DSPy's `BootstrapFinetune` as a durable job-queue system.
//!
//! Data goes one way: job file, check, tasks, queue, worker, teacher program, LM, trace, store, shards, fine-tune jobs,
//! compiled student. See `ARCHITECTURE.md` for the map.

pub mod account;
pub mod artifacts;
mod backoff;
pub mod broker;
pub mod calls_in_flight;
mod caught_panic;
pub mod cli;
mod command_name;
pub mod coordination;
pub mod coordinator;
mod count_guard;
pub mod dataset;
pub mod error_action;
pub mod finetune;
pub mod hex;
mod http;
pub mod job;
pub mod lm;
mod lock;
pub mod memory;
pub mod message;
pub mod metrics;
pub mod report;
pub mod retry;
pub mod run_dir;
pub mod schema;
pub mod shutdown;
pub mod spec;
pub mod store;
pub mod store_error;
pub mod task;
mod telemetry;
mod terminal_text;
mod tls;
pub mod trace;
pub mod training_file;
pub mod trainset;
pub mod worker;

pub use bsft_dspy::{adapter, metric, program, signature};
pub use bsft_pycompat as python;
pub use bsft_pycompat::value;
