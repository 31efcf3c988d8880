//! What tests of the whole system run: the real binary, on folders of their own, against a real LM server.

mod binary;
mod folder;
mod job_file;
mod lm_server;
pub(crate) mod wait;

pub(crate) use binary::{Ended, Running, clean};
pub(crate) use folder::{Folder, same};
pub(crate) use job_file::{JobFile, Line, lines, questions};
pub(crate) use lm_server::{LmServer, free_port};
pub(crate) use wait::until;
