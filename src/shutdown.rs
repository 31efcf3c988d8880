//! How a process is told to stop: first to drain, then to stop at once.

use tokio_util::sync::CancellationToken;

/// The two requests to stop; clones hear the same ones.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Asks to take no more work and to finish what is in flight.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks to stop at once.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Whether anybody has asked to stop.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when somebody asks to stop. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Returns when somebody asks to stop at once. Cancel safe.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }
}
