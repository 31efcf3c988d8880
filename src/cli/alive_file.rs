//! `--alive-file FILE`: a file that is touched while the process works, for a liveness probe that needs no network and that no client of
//! the metrics server can disturb.

use super::exit::Exit;
use super::ui;
use crate::metrics::Metrics;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

/// Interval at which the file is touched, a fraction of what a probe allows.
const TOUCH_EVERY: Duration = Duration::from_secs(5);

/// Touches the file from now on, except while a loop of the process is stuck. An error has been printed.
pub(super) fn keep(path: &Path, metrics: &Arc<Metrics>) -> Result<AbortOnDropHandle<()>, Exit> {
    touch(path).map_err(|error| {
        ui::error(format_args!("--alive-file {}: {error}", path.display()));
        Exit::Failed
    })?;
    let task = touch_regularly(path.to_owned(), Arc::clone(metrics));
    Ok(AbortOnDropHandle::new(tokio::spawn(task)))
}

async fn touch_regularly(path: PathBuf, metrics: Arc<Metrics>) {
    loop {
        tokio::time::sleep(TOUCH_EVERY).await;
        if !metrics.health.stuck().is_empty() {
            continue;
        }
        let file = path.clone();
        let touched = tokio::task::spawn_blocking(move || touch(&file)).await;
        if let Ok(Err(error)) = touched {
            warn!(path = %path.display(), %error, "the alive file cannot be touched");
        }
    }
}

fn touch(path: &Path) -> io::Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    file.set_modified(SystemTime::now())
}
