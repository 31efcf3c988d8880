//! What every queue and every store promises, run on each implementation.
//!
//! A bug found in one implementation becomes a case here for all of them.

mod amqp;
mod artifacts;
mod broker;
mod child_process;
mod embedded;
mod finetune_services;
mod in_memory_service;
pub(crate) mod long_values;
mod openai;
mod redis;
mod rights;
mod steps;
mod store;
mod tls;
