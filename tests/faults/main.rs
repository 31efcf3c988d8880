//! The whole cluster from the outside: real processes, real servers, and what befalls them, killed and cut off at moments that a
//! seed decides. However it went, the end is that of a run that nobody disturbed.
//!
//! `tests/faults/run.sh` runs this at length.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

mod audit;
mod chaos;
mod cluster;
mod fault;
mod log;
mod network;
mod process;
mod settings;
mod succession;
mod table;

#[path = "../support/operators_notes.rs"]
#[expect(dead_code, reason = "the other suites need it")]
mod operators_notes;
#[path = "../support/rabbitmq.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod rabbitmq;
#[path = "../support/redis.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod redis_server;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the tests of the command line need more of it"
)]
mod support;
use support::wait;
