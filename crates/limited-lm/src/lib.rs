//! An LM server with exact limits and counters, for tests and benches.
//!
//! [`LimitedServer::start`] serves on a thread of its own, so a test starts it within its own process. A bench starts
//! the program `limited-lm`, which does the same. A [`ServerBehaviour`] defines the limits and faults. Its times are in
//! server time, which [`ServerBehaviour::speed`] makes faster than real time. [`ServedCounts`] are the server's
//! counters, by which tests and benches check whether a client keeps to a limit.

mod account;
mod answer;
mod behaviour;
mod bucket;
mod connection;
mod counts;
mod http;
mod processor_sharing;
mod refusal;
mod server;
mod server_clock;
mod shared;

#[cfg(test)]
mod tests;

pub use behaviour::{OutageKind, PlannedOutage, RateHint, ServerBehaviour, SharedCapacity};
pub use counts::ServedCounts;
pub use server::LimitedServer;
