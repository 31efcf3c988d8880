//! `retry DIR`: forgets what failed in a run, and compiles again.

use super::compile::compile_again;
use super::exit::Exit;
use super::flags::{CompileFlags, RetryFlags};
use super::ui;
use crate::coordinator::Retry;
use crate::finetune::TrainingState;
use crate::report::{Manifest, ShardReport, TrainingReport};
use crate::run_dir::RunDir;
use crate::system_error::explained;
use indexmap::IndexMap;
use std::path::PathBuf;

/// `retry DIR`.
pub(super) fn retry(flags: &RetryFlags) -> Exit {
    let manifest = match manifest(flags) {
        Ok(manifest) => manifest,
        Err(exit) => return exit,
    };
    let flags = CompileFlags {
        job: PathBuf::from(&manifest.job_file),
        out: Some(flags.run.clone()),
        rehearse: manifest.rehearsal,
        wait: false,
        workers: flags.workers.clone(),
    };
    compile_again(&flags, what_failed(&manifest))
}

/// The manifest of the run. An error has been printed.
fn manifest(flags: &RetryFlags) -> Result<Manifest, Exit> {
    let manifest = match RunDir::existing(&flags.run) {
        Some(dir) => Manifest::read(&dir.manifest()).map_err(|error| {
            ui::error(format_args!(
                "{}: {}",
                dir.manifest().display(),
                explained(&error)
            ));
            Exit::Failed
        })?,
        None => None,
    };
    manifest.ok_or_else(|| {
        ui::error(format_args!(
            "{} holds no run: it has no run.json",
            flags.run.display()
        ));
        Exit::Usage
    })
}

/// Failed trainings come first: with other rows, which more examples would make, every training would be a new one.
fn what_failed(manifest: &Manifest) -> Retry {
    let mut last: IndexMap<_, &TrainingReport> = IndexMap::new();
    for training in manifest.trainings.values() {
        last.insert((&training.lm, &training.predictor), training);
    }
    let is_failed = |training: &TrainingReport| matches!(training.ending, Some(TrainingState::Failed(_)));
    let has_failed = |key: (&String, &Option<String>)| {
        let is_its = |shard: &&ShardReport| (&shard.lm, &shard.predictor) == key;
        match manifest.shards.iter().find(is_its) {
            Some(shard) if shard.failure.is_some() => {
                let mut trainings = manifest.trainings.values();
                trainings.any(|training| (&training.lm, &training.predictor) == key && is_failed(training))
            }
            Some(shard) if shard.training.is_some() || shard.model.is_some() => false,
            // A process that ended early left no report of the shard.
            _ => last.get(&key).is_some_and(|training| is_failed(training)),
        }
    };
    if last.keys().any(|key| has_failed(*key)) {
        Retry::Trainings
    } else {
        Retry::Examples
    }
}
