//! Ctrl-C and SIGTERM: the first signal drains, the second stops at once.

use super::ui;
use crate::shutdown::Shutdown;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Passes signals on to `shutdown` while it is polled. Ends only if no signal can arrive any more.
pub(super) async fn listen(shutdown: Shutdown) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let received = tokio::select! {
            received = interrupt.recv() => received,
            received = terminate.recv() => received,
        };
        if received.is_none() {
            return Ok(());
        }
        if shutdown.is_draining() {
            ui::notice("stopping at once");
            shutdown.abort();
        } else {
            ui::notice("finishing the tasks in flight; press Ctrl-C again to stop at once");
            shutdown.drain();
        }
    }
}
