//! Shutdown requests: first drain, then abort.

use tokio_util::sync::CancellationToken;

/// The two stop requests. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Shutdown {
    pub fn new() -> Shutdown {
        Shutdown::default()
    }

    /// Requests to accept no more work and to finish what is in flight.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Requests to stop at once.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// Whether a drain or an abort was requested.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns when a drain or an abort is requested. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Returns when an abort is requested. Cancel safe.
    pub async fn aborting(&self) {
        self.abort.cancelled().await;
    }
}
