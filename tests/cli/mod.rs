//! The whole system from the outside: the real binaries, on folders of their own, against a real LM server.

mod bare_module;
mod changed_job;
mod check;
pub(crate) mod cluster;
mod damaged_run;
mod data_files;
mod documents;
mod drain;
mod examples;
mod failures;
mod files;
mod lm_accounts;
mod logs;
mod manners;
mod metrics;
mod odd_answers;
mod rehearse;
mod resume;
mod retry;
mod screens;
mod secrets;
mod simulated_lm;
mod training;
mod unsettled;
mod upgrade;
mod usage;
mod validation_rows;
