//! bsft: DSPy's `BootstrapFinetune` as a durable job-queue system.
//!
//! Data goes one way: job file, check, tasks, queue, worker, teacher program, LM, trace, store, shards, fine-tune jobs,
//! compiled student. See `ARCHITECTURE.md` for the map.

pub mod adapter;
mod backoff;
pub mod cli;
pub mod coordinator;
pub mod dataset;
pub mod depot;
pub mod finetune;
mod http;
pub mod job;
pub mod lm;
pub mod message;
pub mod metric;
pub mod metrics;
mod patience;
pub mod program;
pub mod python;
pub mod queue;
pub mod report;
pub mod roster;
pub mod run_dir;
pub mod shutdown;
pub mod signature;
pub mod store;
pub mod task;
mod telemetry;
mod tls;
pub mod trace;
pub mod trainset;
pub mod value;
#[cfg(test)]
mod vectors;
pub mod worker;
