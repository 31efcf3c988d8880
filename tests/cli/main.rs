//! The whole system from the outside: the real binary, on folders of its own, against a real LM server.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod check;

mod failures;
mod files;
mod rehearse;
mod resume;
mod secrets;
mod simulated;
mod usage;
