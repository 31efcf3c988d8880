//! Fine-tuning: jobs, the provider interface and its implementations.
//!
//! A training is started at most once. The worker guarantees that (`worker::finetune`) with three provider operations: find the
//! training of an idempotency key, start one, and report when it is unclear whether one was started.

mod command;
mod conversation;
mod data_files;
mod export;
mod fireworks;
mod http;
mod job;
mod openai;
mod provider;
mod providers;
mod recipes;
pub mod row_formats;
mod simulated;
mod slug;
mod spec;
mod store_record;
mod system_role;
mod together;
mod train_keys;
mod training;

#[cfg(test)]
pub(crate) use command::problems_of_trainers;
pub(crate) use command::trainers_definition;
pub use command::{Trainers, UnfinishedTraining, stop_all};
pub use conversation::{ChatMessage, Conversation, RowError, Turn};
pub use data_files::{DataPart, file_name, key_name};
pub use job::FinetuneJob;
pub use provider::{Provider, ProviderError, StartError, TrainingRequest, Unavailable};
pub use providers::Providers;
pub use recipes::Recipes;
pub use spec::{CommandSpec, ExportSpec, FireworksSpec, ProviderSpec, RowFormat, ServiceSpec, TrainingSpec};
pub use store_record::{
    ID_SLOT, LOOKED_SLOT, NOT_HERE_SLOT, PREFLIGHT_SLOT, PROGRESS_SLOT, Preflight, STARTED_SLOT,
    TrainingRecord, now_ms,
};
pub use system_role::refuses_system_role;
pub use training::{TrainingId, TrainingOutcome, TrainingProgress, TrainingResult, TrainingState};

pub use crate::training_file::TrainingFile;
