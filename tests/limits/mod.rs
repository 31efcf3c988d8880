//! What an LM's account does makes no example fail: limits, outages and refusals, counted by the server.
//!
//! No figure depends on the speed of the machine; `benches/limits` measures wall time and the use of a limit.

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
