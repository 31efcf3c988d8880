//! Ctrl-C and SIGTERM: the first drains, the second stops at once.

use super::say;
use crate::shutdown::Shutdown;
use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Listens for as long as the future is polled.
pub(super) async fn listen(shutdown: Shutdown) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let heard = tokio::select! {
            heard = interrupt.recv() => heard,
            heard = terminate.recv() => heard,
        };
        if heard.is_none() {
            return Ok(());
        }
        if shutdown.is_draining() {
            say::news("stopping at once");
            shutdown.abort();
        } else {
            say::news("finishing what is in flight; once more stops at once");
            shutdown.drain();
        }
    }
}
