//! Log lines on stderr; `BSFT_LOG` sets their level.

use std::io::IsTerminal as _;
use tracing_subscriber::EnvFilter;

/// What is logged unless `BSFT_LOG` says otherwise. lapin reports as errors what the queue mends and reports itself.
const LEVELS: &str = "info,lapin=off";

/// Starts logging. `info` tells a job's story in tens of lines.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("BSFT_LOG").unwrap_or_else(|_| EnvFilter::new(LEVELS));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact()
        .init();
}
