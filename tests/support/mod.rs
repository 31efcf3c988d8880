//! What tests of the whole system run: the real binaries, on folders of their own, against real servers.

mod binary;
pub(crate) mod certificates;
pub(crate) mod documented_rights;
pub(crate) mod finetune_services;
mod folder;
mod freeze;
pub(crate) mod giant_lm;
mod job_file;
mod lm_server;
pub(crate) mod lossy;
pub(crate) mod odd_lm;
pub(crate) mod openai_server;
mod port;
mod python_server;
pub(crate) mod rabbitmq;
pub(crate) mod redis_server;
mod wait;

pub(crate) use binary::{Ended, Running, clean};
pub(crate) use folder::{Folder, same};
pub(crate) use freeze::{freeze, thaw};
pub(crate) use job_file::{JobFile, Line, lines, questions};
pub(crate) use lm_server::LmServer;
pub(crate) use port::ReservedPort;
pub(crate) use wait::until;
