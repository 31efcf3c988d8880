//! Limits, outages and refusals of an LM's account fail no example. The server counts the requests.
//!
//! No expected number depends on the speed of the machine. `benches/limits` measures wall time and the use of a limit.

mod closed;
mod declared;
mod endpoints;
mod events;
mod example;
mod learnt;
mod outage;
mod saturated;
mod scene;
mod shared_limits;
mod workers;

use scene::{CALLS, EXAMPLES, Scene};
