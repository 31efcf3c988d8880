//! Phase three: traces and failures in order, and a training file per LM key.

use super::bootstrap::Bootstrapped;
use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::dataset::{LmKey, write_data};
use crate::finetune::{Shard, TrainingFile};
use crate::report::{Phase, ShardReport};
use crate::run_dir::{RunDir, take_place, unfinished};
use std::collections::HashSet;
use std::fs;
use std::time::Instant;

/// Every LM key has its training file.
pub(super) struct Collected {
    pub(super) prepared: Prepared,
    /// In the order of the keys.
    pub(super) shards: Vec<Shard>,
}

/// Runs the phase: plain I/O on byte ranges, in a thread of its own, since signs of life and signals go on meanwhile.
pub(super) async fn collect(
    coordinator: &Coordinator,
    bootstrapped: Bootstrapped,
) -> Result<Collected, RunError> {
    let started = Instant::now();
    let (prepared, dir) = (bootstrapped.prepared, coordinator.dir.clone());
    let written = tokio::task::spawn_blocking(move || write(prepared, &dir)).await;
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
    prepared.ledger.sort()?;
    let mut shards = Vec::with_capacity(prepared.keys.len());
    for key in &prepared.keys {
        shards.push(shard(dir, &prepared, key)?);
    }
    remove_other_data(dir, &prepared.keys)?;
    prepared.manifest.shards = shards
        .iter()
        .zip(&prepared.keys)
        .map(|(s, key)| report(s, key))
        .collect();
    Ok(Collected { prepared, shards })
}

fn shard(dir: &RunDir, prepared: &Prepared, key: &LmKey) -> Result<Shard, RunError> {
    let path = dir.data(&key.file_name());
    let written = write_data(
        prepared.ledger.traces(),
        &prepared.ledger.rows,
        key,
        &unfinished(&path),
    )
    .map_err(RunError::at(&path))?;
    take_place(&path).map_err(RunError::at(&path))?;
    Ok(Shard {
        recipe: key.recipe(&prepared.job),
        data: TrainingFile {
            name: key.file_name(),
            rows: written.rows,
            bytes: written.bytes,
            sha256: written.sha256,
        },
        validation: None,
    })
}

/// Training files of keys that the job no longer has: derived data, made again whenever it is asked for.
fn remove_other_data(dir: &RunDir, keys: &[LmKey]) -> Result<(), RunError> {
    let ours: HashSet<String> = keys.iter().map(LmKey::file_name).collect();
    let folder = dir.root().join("data");
    for entry in fs::read_dir(&folder).map_err(RunError::at(&folder))? {
        let entry = entry.map_err(RunError::at(&folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_data = name.ends_with(".jsonl") || name.ends_with(".jsonl.tmp");
        if is_data && !ours.contains(name.as_ref()) {
            fs::remove_file(entry.path()).map_err(RunError::at(entry.path()))?;
        }
    }
    Ok(())
}

fn report(shard: &Shard, key: &LmKey) -> ShardReport {
    ShardReport {
        lm: shard.recipe.lm.clone(),
        predictor: shard.recipe.predictor.clone(),
        file: format!("data/{}", key.file_name()),
        rows: shard.data.rows,
        sha256: shard.data.sha256.clone(),
        provider: shard.recipe.provider.name().to_owned(),
        training: None,
        model: None,
        api_base: None,
        progress: None,
        failure: None,
        trained_tokens: None,
        loss: None,
    }
}
