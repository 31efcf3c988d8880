//! The third phase: sorts traces and failures, and writes the training files of each LM key.

use super::blocking::blocking;
use super::bootstrap::Bootstrapped;
use super::context::RunContext;
use super::error::RunError;
use super::outcome_log::OutcomeLog;
use super::run_json;
use super::shard_files::{self, ShardFiles};
use super::stored_job::StoredJob;
use super::task_plan::TaskPlan;
use crate::dataset::lm_keys;
use crate::dataset::trainer_configs::{configs, is_config};
use crate::finetune::FinetuneJob;
use crate::report::{Manifest, Phase};
use crate::run_dir::{RunDir, write_whole};
use crate::spec::JobSpec;
use std::collections::HashSet;
use std::fs;
use std::time::Instant;
use tracing::warn;

/// Every LM key has its training files.
pub(super) struct Collected {
    pub(super) spec: JobSpec,
    pub(super) stored: StoredJob,
    /// In the order of [`lm_keys`].
    pub(super) shards: Vec<FinetuneJob>,
    pub(super) manifest: Manifest,
}

pub(super) async fn collect(run: RunContext<'_>, bootstrapped: Bootstrapped) -> Result<Collected, RunError> {
    let started = Instant::now();
    let Bootstrapped {
        tasks,
        stored,
        mut log,
        mut manifest,
    } = bootstrapped;
    manifest.phase = Phase::Collect;
    let counts = &manifest.counts;
    for (lm, cut) in counts.lms.keys().filter_map(|lm| Some((lm, counts.cut(lm)?))) {
        warn!(lm, "{cut} and used");
    }
    let dir = run.coordinator.dir.clone();
    let (spec, written) = blocking(move || {
        log.sort()?;
        let written = write_files(&dir, &tasks, &log)?;
        Ok((tasks.job.spec, written))
    })
    .await?;
    run.leadership.confirm().await?;
    manifest.shards = written.iter().map(ShardFiles::report).collect();
    manifest.add_seconds("collect", started.elapsed());
    run_json::publish(run, &mut manifest).await?;
    Ok(Collected {
        spec,
        stored,
        shards: written.into_iter().map(|written| written.shard).collect(),
        manifest,
    })
}

/// Writes training files and trainer configurations, and removes those of an earlier form of the job.
fn write_files(dir: &RunDir, tasks: &TaskPlan, log: &OutcomeLog) -> Result<Vec<ShardFiles>, RunError> {
    let written = lm_keys(&tasks.job.spec)
        .iter()
        .map(|key| shard_files::write(dir, tasks, log, key))
        .collect::<Result<Vec<_>, _>>()?;
    let names = written.iter().flat_map(|written| written.names.iter().cloned());
    let mut names: HashSet<String> = names.collect();
    let trainable: Vec<_> = written
        .iter()
        .filter_map(|written| written.trainable.clone())
        .collect();
    for (name, text) in configs(&trainable) {
        let path = dir.data(&name);
        write_whole(&path, text.as_bytes()).map_err(RunError::with_path(path))?;
        names.insert(name);
    }
    remove_other_files(dir, &names)?;
    Ok(written)
}

/// Removes derived files of an earlier form of the job from `data`: they can be written again at any time.
fn remove_other_files(dir: &RunDir, names: &HashSet<String>) -> Result<(), RunError> {
    let data = dir.root().join("data");
    for entry in fs::read_dir(&data).map_err(RunError::with_path(&data))? {
        let entry = entry.map_err(RunError::with_path(&data))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let finished = name.strip_suffix(".tmp").unwrap_or(&name);
        let is_derived = finished.ends_with(".jsonl") || is_config(finished);
        if is_derived && !names.contains(name.as_ref()) {
            fs::remove_file(entry.path()).map_err(RunError::with_path(entry.path()))?;
        }
    }
    Ok(())
}
