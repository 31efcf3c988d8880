//! The whole system from the outside: the real binary, on folders of its own, against a real LM server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

#[path = "../support/openai_server.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod openai_server;
#[path = "../support/operators_notes.rs"]
mod operators_notes;
#[path = "../support/rabbitmq.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod rabbitmq;
#[path = "../support/redis.rs"]
#[expect(dead_code, reason = "the conformance suite needs more of it")]
mod redis_server;
#[path = "../support/mod.rs"]
mod support;
use support::wait;

mod changes;
mod check;
mod cluster;
mod drain;
mod examples;
mod failures;
mod files;
mod logs;
mod manners;
mod metrics;
mod rehearse;
mod resume;
mod secrets;
mod simulated;
mod training;
mod upgrade;
mod usage;
mod validation;
