//! The clock of the server, which may run faster than real time.

use std::time::Duration;
use tokio::time::Instant;

/// A clock in seconds of server time since the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerClock {
    start: Instant,
    speed: f64,
}

impl ServerClock {
    pub(crate) fn start(speed: f64) -> ServerClock {
        ServerClock {
            start: Instant::now(),
            speed,
        }
    }

    pub(crate) fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * self.speed
    }

    /// The real time of `secs` seconds of server time.
    pub(crate) fn real(&self, secs: f64) -> Duration {
        Duration::from_secs_f64((secs / self.speed).max(0.0))
    }

    /// Converts a rate per second of server time to one per second of real time.
    pub(crate) fn real_rate(&self, rate: f64) -> f64 {
        rate * self.speed
    }
}
