//! Cancels the trainings of a run that has no coordinator: `cancel DIR` after the coordinator was killed.
//!
//! Trainers on this machine are found by their folders. Jobs at services are found by the manifest's entries, and are cancelled with the
//! keys in the environment.

use crate::artifacts::DirArtifacts;
use crate::finetune::{
    FinetuneJob, ProviderError, ProviderSpec, Providers, TrainingId, TrainingOutcome, TrainingRequest,
    TrainingState, stop_all as stop_trainers,
};
use crate::key_ring::KeyRing;
use crate::report::{Manifest, TrainingReport};
use crate::run_dir::RunDir;
use crate::task::RunId;
use std::io;
use std::sync::Arc;
use tracing::warn;

/// What the cancellation did.
#[derive(Debug, Default)]
pub struct OrphanedTrainings {
    /// How many trainings it cancelled.
    pub stopped: usize,
    /// Trainings that had ended before.
    pub ended: Vec<String>,
    /// Trainings that may still run, each with the reason.
    pub still_running: Vec<String>,
}

/// Cancels the open trainings of the run in `dir`, and records the result in `manifest`. The caller must hold the lock of `dir`.
pub async fn cancel_orphaned_trainings(
    dir: &RunDir,
    manifest: &mut Manifest,
) -> io::Result<OrphanedTrainings> {
    let mut result = OrphanedTrainings::default();
    let killed = match &manifest.trainings_dir {
        Some(trainings) => stop_trainers(trainings, &manifest.run).await?,
        None => Vec::new(),
    };
    let open: Vec<(String, TrainingReport)> = manifest
        .trainings
        .iter()
        .filter(|(_, training)| training.ending.is_none())
        .map(|(name, training)| (name.clone(), training.clone()))
        .collect();
    for (name, training) in open {
        match cancel(dir, &manifest.run, &training, &killed).await {
            Ok(None) => {}
            Ok(Some(outcome)) => {
                match (&outcome.training, &outcome.id) {
                    (TrainingState::Cancelled, _) => result.stopped += 1,
                    (_, id) => result.ended.push(describe(&training, id.as_ref())),
                }
                manifest.record_ending(&name, outcome);
            }
            Err(why) => {
                let training = describe(&training, training.id.as_ref());
                result
                    .still_running
                    .push(format!("{training} may still run: {why}"));
            }
        }
    }
    Ok(result)
}

/// Returns how the training ended, `None` if no start of it is known. `killed` has the keys of the trainers that were stopped.
async fn cancel(
    dir: &RunDir,
    run: &RunId,
    training: &TrainingReport,
    killed: &[String],
) -> Result<Option<TrainingOutcome>, String> {
    let Some(shard) = &training.shard else {
        let why = "an earlier version of bsft started it; run compile to resume it, then cancel";
        return training.id.as_ref().map_or(Ok(None), |_| Err(why.to_owned()));
    };
    match (&shard.recipe.provider, &training.id) {
        (ProviderSpec::Export(_) | ProviderSpec::Simulated, _) | (ProviderSpec::Command(_), None) => Ok(None),
        (ProviderSpec::Command(_), Some(id)) => {
            let key = shard.task(training.attempt).to_string();
            if killed.contains(&key) {
                Ok(Some(TrainingOutcome {
                    id: Some(id.clone()),
                    training: TrainingState::Cancelled,
                }))
            } else {
                Err("no trainer of it runs on this machine; run compile to resume it, then cancel".to_owned())
            }
        }
        (ProviderSpec::Openai(_) | ProviderSpec::Together(_) | ProviderSpec::Fireworks(_), id) => {
            cancel_at_service(dir, run, shard, training.attempt, id.as_ref()).await
        }
    }
}

async fn cancel_at_service(
    dir: &RunDir,
    run: &RunId,
    shard: &FinetuneJob,
    attempt: u32,
    id: Option<&TrainingId>,
) -> Result<Option<TrainingOutcome>, String> {
    let keys = Arc::new(KeyRing::of_the_author());
    let provider = Providers::new(None, keys)
        .get(&shard.recipe)
        .map_err(|error| error.to_string())?;
    let key = shard.task(attempt).to_string();
    let artifacts = DirArtifacts::new(dir.root().join("data"));
    let order = TrainingRequest {
        key: &key,
        run,
        shard,
        artifacts: &artifacts,
    };
    let cancelled: Result<_, ProviderError> = async {
        // A coordinator that was killed between the start and its record left no id.
        let found = match id {
            Some(id) => Some(id.clone()),
            None => provider.find(&order).await?,
        };
        let Some(id) = found else { return Ok(None) };
        provider.cancel(&id, &order).await?;
        Ok(Some((provider.poll(&id, &order).await?, id)))
    }
    .await;
    let (training, id) = match cancelled.map_err(|error| error.to_string())? {
        None => return Ok(None),
        Some((TrainingState::Absent, id)) => {
            return Err(format!("the service has no training {}", id.0));
        }
        Some((TrainingState::Running(_), id)) => (TrainingState::Cancelled, id),
        Some(ended) => ended,
    };
    if let Err(error) = provider.cleanup(&id, &order).await {
        warn!(%shard, %error, "training files not deleted at the service");
    }
    Ok(Some(TrainingOutcome {
        id: Some(id),
        training,
    }))
}

fn describe(training: &TrainingReport, id: Option<&TrainingId>) -> String {
    let id = id.map_or_else(String::new, |id| format!("{} ", id.0));
    format!("the training {id}of lm {} by {}", training.lm, training.provider)
}
