//! The async runtime of a command.

use super::exit::Exit;
use super::ui;

/// Drives the work to its end on a runtime of its own. That there can be none has been said when this fails.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            ui::error(format_args!("the async runtime does not start: {error}"));
            Exit::Failed
        })?;
    let ended = runtime.block_on(work);
    // What still sleeps in the runtime (a draw, a poll) must not hold up the exit.
    runtime.shutdown_background();
    Ok(ended)
}
