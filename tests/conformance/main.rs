//! What every queue and every store promises, run on each implementation.
//!
//! A bug found in one implementation becomes a case here for all of them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

mod amqp;
mod artifacts;
mod broker;
#[path = "../support/certificates.rs"]
mod certificates;
mod child;
mod embedded;
#[path = "../support/lossy.rs"]
mod lossy;
mod openai;
#[path = "../support/openai_server.rs"]
mod openai_server;
#[path = "../support/operators_notes.rs"]
#[expect(dead_code, reason = "the tests of the command line need more of it")]
mod operators_notes;
#[path = "../support/rabbitmq.rs"]
#[expect(dead_code, reason = "the fault tests need more of it")]
mod rabbitmq;
mod redis;
#[path = "../support/redis.rs"]
#[expect(dead_code, reason = "the fault tests need more of it")]
mod redis_server;
mod rights;
mod service;
#[path = "../support/service_server.rs"]
mod service_server;
mod services;
mod steps;
mod store;
#[path = "../support/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the tests of the command line need more of it"
)]
mod support;
mod tls;
use support::wait;
