//! Publishes the manifest: to `run.json`, to the metrics and to the coordination service, from which `status` reads it.

use super::blocking::blocking;
use super::context::RunContext;
use super::error::RunError;
use super::run_metrics;
use crate::report::Manifest;
use crate::run_dir::write_whole;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::debug;

/// Writes `run.json` durably and reports the same bytes elsewhere. Only a failed write is an error.
pub(super) async fn publish(run: RunContext<'_>, manifest: &mut Manifest) -> Result<(), RunError> {
    manifest.updated = unix_seconds();
    run.coordinator.events.follow(manifest);
    run_metrics::export_manifest(&run.coordinator.metrics.run, manifest);
    let path = run.coordinator.dir.manifest();
    let bytes = manifest.to_bytes();
    let bytes = blocking(move || {
        write_whole(&path, &bytes).map_err(RunError::with_path(path))?;
        Ok(bytes)
    })
    .await?;
    if let Err(error) = run.backends().coordination.report(run.id, &bytes).await {
        debug!(%error, "manifest not reported; run.json is current");
    }
    Ok(())
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
