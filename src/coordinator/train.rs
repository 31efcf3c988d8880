//! Phase four: a fine-tune job per LM key, and its completion.

use super::collect::Collected;
use super::lookout::Lookout;
use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::finetune::{Shard, Trained, Training, TrainingOutcome};
use crate::message::{Completion, FinetuneTask, MESSAGE_VERSION, decode, encode};
use crate::queue::{Lane, Settlement};
use crate::report::Phase;
use crate::run_dir::RunDir;
use crate::task::TaskId;
use crate::trace::Outcome;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How long the coordinator waits for a completion message before it looks into the store, which is the truth.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Completions in hand at once; each is only an id.
const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Every LM key has its model.
pub(super) struct AllTrained {
    pub(super) prepared: Prepared,
    /// In the order of the keys.
    pub(super) models: Vec<Trained>,
}

/// Runs the phase.
pub(super) async fn train(coordinator: &Coordinator, collected: Collected) -> Result<AllTrained, RunError> {
    let started = Instant::now();
    let Collected { mut prepared, shards } = collected;
    prepared.manifest.phase = Phase::Train;
    let tasks: Vec<TaskId> = shards.iter().map(task_id).collect();
    let mut endings: Vec<Option<TrainingOutcome>> = vec![None; shards.len()];
    for (ending, shard) in endings.iter_mut().zip(&shards) {
        if shard.rows == 0 {
            *ending = Some(empty(&prepared, &coordinator.dir));
        }
    }
    look(coordinator, &prepared, &tasks, &mut endings).await?;
    let messages: Vec<Vec<u8>> = (shards.iter().zip(&tasks).zip(&endings))
        .filter(|(_, ending)| ending.is_none())
        .map(|((shard, task), _)| message(&prepared, shard, *task))
        .collect();
    let completions = Lane::Completions(prepared.run.clone());
    let mut completions = coordinator.queue.consume(&completions, PREFETCH).await?;
    coordinator.queue.publish(&Lane::Finetune, messages).await?;
    let mut lookout = Lookout::new();
    while endings.iter().any(Option::is_none) {
        tokio::select! {
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            delivery = completions.next() => if let Some(delivery) = delivery? {
                let settlement = match decode::<Completion>(&delivery.body) {
                    Ok(_) => Settlement::Done,
                    Err(why) => {
                        warn!(%why, "completion refused to the dead letters");
                        Settlement::Reject
                    }
                };
                if let Err(lost) = delivery.settle(settlement).await {
                    debug!(%lost, "completion not settled; it comes again");
                }
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        look(coordinator, &prepared, &tasks, &mut endings).await?;
        lookout.tell(coordinator, &prepared, &endings).await;
        let open: Vec<usize> = (0..shards.len())
            .filter(|shard| endings[*shard].is_none())
            .collect();
        for lost in lookout.lost(coordinator, &prepared, &tasks, &open).await? {
            warn!(shard = %shards[lost], "nobody has this fine-tune task and no message of it is left: publishing it again");
            let message = message(&prepared, &shards[lost], tasks[lost]);
            coordinator.queue.publish(&Lane::Finetune, vec![message]).await?;
        }
    }
    prepared.manifest.spent("train", started.elapsed());
    let models = conclude(&mut prepared, &shards, endings.into_iter().flatten());
    prepared.tell(coordinator).await?;
    Ok(AllTrained {
        models: models?,
        prepared,
    })
}

/// Derived from all that a training depends on: the same data and arguments are the same training.
fn task_id(shard: &Shard) -> TaskId {
    let arguments = serde_json::to_vec(&(&shard.train, &shard.options)).expect("plain data serialises");
    TaskId::derive(&[
        b"finetune",
        shard.lm.as_bytes(),
        shard.predictor.as_deref().unwrap_or("").as_bytes(),
        shard.model.as_bytes(),
        shard.provider.as_bytes(),
        &arguments,
        shard.sha256.as_bytes(),
    ])
}

fn message(prepared: &Prepared, shard: &Shard, task: TaskId) -> Vec<u8> {
    encode(&FinetuneTask {
        v: MESSAGE_VERSION,
        run: prepared.run.clone(),
        task,
        shard: shard.clone(),
    })
}

fn empty(prepared: &Prepared, dir: &RunDir) -> TrainingOutcome {
    let tally = prepared.ledger.tally();
    let reason = if tally.traces == 0 {
        format!(
            "no training rows: every example failed; {} says why. Mend it, then: bsft-coordinator retry {}",
            dir.failures().display(),
            dir.root().display()
        )
    } else if tally.kept == 0 {
        "no training rows: the metric kept no trace. Look at the scores in traces.jsonl; a weaker metric or a \
         better teacher keeps more"
            .to_owned()
    } else {
        "no training rows: this predictor was never called".to_owned()
    };
    TrainingOutcome {
        id: None,
        training: Training::Failed(reason),
    }
}

/// Fills in the endings that the store knows by now.
async fn look(
    coordinator: &Coordinator,
    prepared: &Prepared,
    tasks: &[TaskId],
    endings: &mut [Option<TrainingOutcome>],
) -> Result<(), RunError> {
    for (task, ending) in tasks.iter().zip(endings).filter(|(_, ending)| ending.is_none()) {
        let Some(bytes) = coordinator.store.outcome(&prepared.run, *task).await? else {
            continue;
        };
        *ending = match Outcome::decode(bytes) {
            Ok(Outcome::Training(json)) => serde_json::from_str(&json).ok(),
            _ => None,
        };
    }
    Ok(())
}

/// The models, or what kept some shards from having one.
fn conclude(
    prepared: &mut Prepared,
    shards: &[Shard],
    endings: impl Iterator<Item = TrainingOutcome>,
) -> Result<Vec<Trained>, RunError> {
    let (mut models, mut failures) = (Vec::new(), Vec::new());
    for ((shard, ending), report) in shards.iter().zip(endings).zip(&mut prepared.manifest.shards) {
        report.training = ending.id.map(|id| id.0);
        match ending.training {
            Training::Succeeded(trained) => {
                report.model.clone_from(&trained.model);
                models.push(trained);
            }
            Training::Failed(reason) => failures.push(format!("fine-tune job of {shard}: {reason}")),
            Training::Running => failures.push(format!("fine-tune job of {shard}: ended while running")),
        }
    }
    if failures.is_empty() {
        Ok(models)
    } else {
        Err(RunError::Training(failures))
    }
}
