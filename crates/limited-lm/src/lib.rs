//! An LM server with exact limits and counters, for tests and benches.
//!
//! [`LimitedServer::start`] serves on a thread of its own, so a test starts it in its own process; the program
//! `limited-lm` does the same for a bench. A [`ServerBehaviour`] describes the limits and faults. Its times are server time,
//! which [`ServerBehaviour::speed`] makes faster than real time. [`ServedCounts`] is what the server saw: the only judge of
//! how a client keeps to a limit.

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
