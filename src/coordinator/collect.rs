//! Phase three: traces and failures in order, training files per LM key, and configurations for who trains on them.

use super::bootstrap::Bootstrapped;
use super::prepare::Prepared;
use super::shard::{self, ShardFiles};
use super::{Coordinator, RunError};
use crate::dataset::configs::{configs, is_config};
use crate::finetune::FinetuneJob;
use crate::report::Phase;
use crate::run_dir::{RunDir, write_whole};
use std::collections::HashSet;
use std::fs;
use std::time::Instant;
use tracing::Span;

/// Every LM key has its training file.
pub(super) struct Collected {
    pub(super) prepared: Prepared,
    /// In the order of the keys.
    pub(super) shards: Vec<FinetuneJob>,
}

/// Runs the phase: plain I/O on byte ranges, in a thread of its own, since signs of life and signals go on meanwhile.
pub(super) async fn collect(
    coordinator: &Coordinator,
    bootstrapped: Bootstrapped,
) -> Result<Collected, RunError> {
    let started = Instant::now();
    let (prepared, dir) = (bootstrapped.prepared, coordinator.dir.clone());
    let span = Span::current();
    let written = tokio::task::spawn_blocking(move || span.in_scope(|| write(prepared, &dir))).await;
    let mut collected = match written {
        Ok(collected) => collected?,
        Err(gone) if gone.is_panic() => std::panic::resume_unwind(gone.into_panic()),
        // The runtime is going down.
        Err(_) => return Err(RunError::Interrupted),
    };
    let prepared = &mut collected.prepared;
    prepared.leadership.confirm(coordinator).await?;
    prepared.manifest.spent("collect", started.elapsed());
    prepared.tell(coordinator).await?;
    Ok(collected)
}

fn write(mut prepared: Prepared, dir: &RunDir) -> Result<Collected, RunError> {
    prepared.manifest.phase = Phase::Collect;
    prepared.outcome_log.sort()?;
    let mut made = Vec::with_capacity(prepared.keys.len());
    for key in &prepared.keys {
        made.push(shard::make(dir, &prepared, key)?);
    }
    let mut files: HashSet<String> = made.iter().flat_map(|made| made.files.iter().cloned()).collect();
    let exported: Vec<_> = made.iter().filter_map(|made| made.trainable.clone()).collect();
    for (name, text) in configs(&exported) {
        let path = dir.data(&name);
        write_whole(&path, text.as_bytes()).map_err(RunError::at(path))?;
        files.insert(name);
    }
    remove_others(dir, &files)?;
    prepared.manifest.shards = made.iter().map(ShardFiles::report).collect();
    let shards = made.into_iter().map(|made| made.shard).collect();
    Ok(Collected { prepared, shards })
}

/// Removes what an earlier form of the job has put into `data`: it is derived, and made again whenever it is asked for.
fn remove_others(dir: &RunDir, files: &HashSet<String>) -> Result<(), RunError> {
    let folder = dir.root().join("data");
    for entry in fs::read_dir(&folder).map_err(RunError::at(&folder))? {
        let entry = entry.map_err(RunError::at(&folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let whole = name.strip_suffix(".tmp").unwrap_or(&name);
        let is_derived = whole.ends_with(".jsonl") || is_config(whole);
        if is_derived && !files.contains(name.as_ref()) {
            fs::remove_file(entry.path()).map_err(RunError::at(entry.path()))?;
        }
    }
    Ok(())
}
