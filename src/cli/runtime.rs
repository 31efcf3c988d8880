//! The async runtime of a command.

use super::exit::Exit;
use super::ui;
use crate::system_error::explained;

/// Runs the future to its end on a new runtime. An error has been printed.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            let error = explained(&error);
            ui::error(format_args!("the async runtime does not start: {error}"));
            Exit::Failed
        })?;
    let ended = runtime.block_on(work);
    // Blocking work of background tasks must not delay the exit.
    runtime.shutdown_background();
    Ok(ended)
}
