//! Fits `--concurrency` into the open files that the shell allows.

use super::exit::Exit;
use super::flags::MonitorFlags;
use super::ui;
use crate::metrics::MOST_CONNECTIONS;
use crate::open_files::{connections_within, needed, open_now, raise_limit};
use std::num::NonZeroUsize;

/// The files that a run in one process, or a worker, opens at least. With fewer, its runtime does not start.
const LEAST: u64 = 15;

/// What the open files of a process depend on.
pub(super) struct Openers<'a> {
    /// Workers of this process.
    pub(super) workers: usize,
    /// The LM servers to which each call in flight may keep a connection.
    pub(super) servers: usize,
    pub(super) monitor: &'a MonitorFlags,
}

/// Raises the limit of open files as far as this user may, and lowers `concurrency` if that is still too little for it. An error has been
/// printed: the limit is too low for any run.
pub(super) fn fit(concurrency: NonZeroUsize, openers: &Openers<'_>) -> Result<NonZeroUsize, Exit> {
    let Some(limit) = raise_limit() else {
        return Ok(concurrency);
    };
    let least = open_now() + LEAST;
    if limit < least {
        ui::error(format_args!(
            "this shell allows {limit} open files, and bsft needs at least {least}; raise the limit, for example with `ulimit -n 1024`"
        ));
        return Err(Exit::Failed);
    }
    let per_call = openers.workers.saturating_mul(openers.servers) as u64;
    if per_call == 0 {
        return Ok(concurrency);
    }
    let watchers = openers
        .monitor
        .metrics_addr
        .as_ref()
        .map_or(0, |_| MOST_CONNECTIONS as u64);
    let others = open_now() + watchers;
    let connections = (concurrency.get() as u64).saturating_mul(per_call);
    let needed = others.saturating_add(needed(connections));
    if needed <= limit {
        return Ok(concurrency);
    }
    let fitting = connections_within(limit.saturating_sub(others)) / per_call;
    let fitting = usize::try_from(fitting).ok().and_then(NonZeroUsize::new);
    let fitting = fitting.unwrap_or(NonZeroUsize::MIN).min(concurrency);
    let calls = match fitting.get() {
        1 => "1 LM call is".to_owned(),
        calls => format!("{calls} LM calls are"),
    };
    let per_worker = if openers.workers > 1 { " per worker" } else { "" };
    ui::warn(format_args!(
        "--concurrency {concurrency} needs about {needed} open files, this shell allows {limit}: at most {calls} in flight{per_worker}; \
         for more, raise the hard limit (as root `ulimit -Hn {needed}`, in a systemd unit LimitNOFILE=, with docker --ulimit nofile=)"
    ));
    Ok(fitting)
}
