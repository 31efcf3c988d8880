//! Runs file work that may take long outside the runtime's threads, so that heartbeats and signals are handled meanwhile.

use super::error::RunError;
use tracing::Span;

/// Runs `work` on a thread for blocking work, inside the caller's span. A panic of `work` is resumed in the caller.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    let span = Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => done,
        Err(gone) if gone.is_panic() => std::panic::resume_unwind(gone.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(RunError::Interrupted),
    }
}
