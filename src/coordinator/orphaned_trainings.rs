//! The trainings of a run that nobody works on, stopped: what `cancel` does when no coordinator is left to do it.
//!
//! Trainers on this machine are found in their folders. Jobs at services are asked for as the manifest tells of them, with the keys that
//! are in the environment.

use crate::artifacts::DirArtifacts;
use crate::finetune::{
    FinetuneJob, ProviderSpec, Providers, TrainingId, TrainingOutcome, TrainingRequest, TrainingState,
    stop_all as stop_trainers,
};
use crate::report::{Manifest, TrainingReport};
use crate::run_dir::RunDir;
use crate::task::RunId;
use std::io;
use tracing::warn;

/// What came of it.
#[derive(Debug, Default)]
pub struct OrphanedTrainings {
    /// How many trainings are stopped.
    pub stopped: usize,
    /// Trainings that had ended by themselves.
    pub ended: Vec<String>,
    /// Trainings that may go on, each with what kept it from being stopped.
    pub going_on: Vec<String>,
}

/// Stops the trainings of the run in `dir` and writes down in `manifest` what came of them. Whoever calls holds the folder's lock.
pub async fn cancel_orphaned_trainings(
    dir: &RunDir,
    manifest: &mut Manifest,
) -> io::Result<OrphanedTrainings> {
    let mut left = OrphanedTrainings::default();
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
        match stop(dir, &manifest.run, &training, &killed).await {
            Ok(None) => {}
            Ok(Some(outcome)) => {
                match (&outcome.training, &outcome.id) {
                    (TrainingState::Cancelled, _) => left.stopped += 1,
                    (_, id) => left.ended.push(shown(&training, id.as_ref())),
                }
                manifest.ended(&name, outcome);
            }
            Err(why) => {
                let shown = shown(&training, training.id.as_ref());
                left.going_on.push(format!("{shown} may go on: {why}"));
            }
        }
    }
    Ok(left)
}

/// Gives how it ended; none: it was never started, as far as anybody knows.
async fn stop(
    dir: &RunDir,
    run: &RunId,
    training: &TrainingReport,
    killed: &[String],
) -> Result<Option<TrainingOutcome>, String> {
    let Some(shard) = &training.shard else {
        let why = "it was asked for by an earlier version of bsft; compile takes it up again, and cancel stops it then";
        return training.id.as_ref().map_or(Ok(None), |_| Err(why.to_owned()));
    };
    match (&shard.recipe.provider, &training.id) {
        (ProviderSpec::Export(_) | ProviderSpec::Simulated, _) | (ProviderSpec::Command(_), None) => Ok(None),
        (ProviderSpec::Command(_), Some(id)) => {
            let key = shard.task(training.attempt).to_string();
            match killed.contains(&key) {
                true => Ok(Some(TrainingOutcome {
                    id: Some(id.clone()),
                    training: TrainingState::Cancelled,
                })),
                false => Err("no trainer of it runs on this machine; compile takes it up again, and cancel stops it then".to_owned()),
            }
        }
        (ProviderSpec::Openai(_) | ProviderSpec::Together(_) | ProviderSpec::Fireworks(_), id) => {
            stop_at_service(dir, run, shard, training.attempt, id.as_ref()).await
        }
    }
}

async fn stop_at_service(
    dir: &RunDir,
    run: &RunId,
    shard: &FinetuneJob,
    attempt: u32,
    id: Option<&TrainingId>,
) -> Result<Option<TrainingOutcome>, String> {
    let provider = Providers::default()
        .get(&shard.recipe)
        .map_err(|error| error.to_string())?;
    let (key, artifacts) = (
        shard.task(attempt).to_string(),
        DirArtifacts::new(dir.root().join("data")),
    );
    let order = TrainingRequest {
        key: &key,
        run,
        shard,
        artifacts: &artifacts,
    };
    let stopped = async {
        // A coordinator that died at the wrong moment has left no id.
        let found = match id {
            Some(id) => Some(id.clone()),
            None => provider.find(&order).await?,
        };
        let Some(id) = found else { return Ok(None) };
        provider.cancel(&id, &order).await?;
        Ok(Some((provider.poll(&id, &order).await?, id)))
    };
    let stopped: Result<_, crate::finetune::ProviderError> = stopped.await;
    let training = match stopped.map_err(|error| error.to_string())? {
        None => return Ok(None),
        Some((TrainingState::Absent, id)) => {
            return Err(format!("the service does not know {} (any more)", id.0));
        }
        Some((TrainingState::Running(_), id)) => (TrainingState::Cancelled, id),
        Some(ended) => ended,
    };
    let (training, id) = training;
    if let Err(error) = provider.cleanup(&id, &order).await {
        warn!(%shard, %error, "not cleared away");
    }
    Ok(Some(TrainingOutcome {
        id: Some(id),
        training,
    }))
}

fn shown(training: &TrainingReport, id: Option<&TrainingId>) -> String {
    let id = id.map_or_else(String::new, |id| format!("{} ", id.0));
    format!("the training {id}of lm {} by {}", training.lm, training.provider)
}
