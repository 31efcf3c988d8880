//! Before the first question to a teacher: would the fine-tune jobs fail for a reason that is there already?
//!
//! The workers that will carry them out are asked, since it is there that keys, trainers and ways to servers are.

use super::prepare::Prepared;
use super::{Coordinator, Retry, RunError};
use crate::broker::Queue;
use crate::coordination::WorkerInfo;
use crate::finetune::{Preflight, ProviderSpec, TrainingRecord, TrainingSpec, TrainingState};
use crate::message::{FinetuneMessage, MESSAGE_VERSION, PreflightTask, encode};
use crate::report::{Manifest, TrainingReport};
use crate::task::TaskId;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How often the answers are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long workers elsewhere may take: there may be none yet, and the teachers' work need not wait for them.
const PATIENCE: Duration = Duration::from_secs(15);

/// After how long without an answer it is said what is waited for.
const SILENCE: Duration = Duration::from_secs(2);

/// How long workers of this process may take: longer than any provider.
const PATIENCE_HERE: Duration = Duration::from_secs(90);

const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// A question and its answer.
struct PreflightRequest {
    recipe: TrainingSpec,
    extent: Extent,
    task: TaskId,
    answer: Option<Preflight>,
    /// Why some worker cannot.
    not_here: Option<String>,
}

/// How much a job is asked after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// All that may keep it from its end.
    All,
    /// Whether anybody is there who could go on with a training that may be under way already.
    Taker,
}

/// Asks. Once the bootstrap is done, workers elsewhere are waited for by the jobs themselves; those of this process are all that there
/// will ever be.
pub(super) async fn preflight(coordinator: &Coordinator, prepared: &Prepared) -> Result<(), RunError> {
    let is_bootstrapped = prepared.outcome_log.counts().done() == prepared.tasks();
    if is_bootstrapped && !coordinator.is_alone {
        return Ok(());
    }
    let mut asked = questions(prepared, coordinator.retry, is_bootstrapped);
    if asked.is_empty() {
        return Ok(());
    }
    let queue = Queue::Completions(prepared.run.clone());
    let mut completions = coordinator.broker.consume(&queue, PREFETCH).await?;
    let messages = asked.iter().map(|asked| message(prepared, asked)).collect();
    coordinator.broker.publish(&Queue::Finetune, messages).await?;
    let since = Instant::now();
    let patience = match coordinator.in_flight {
        0 => PATIENCE,
        _ => PATIENCE_HERE,
    };
    let mut is_told = false;
    while asked.iter().any(|asked| asked.answer.is_none()) && since.elapsed() < patience {
        if !is_told && since.elapsed() >= SILENCE {
            info!(
                at_most_secs = patience.as_secs(),
                "waiting for a worker of the finetune lane to look ahead at the fine-tune jobs"
            );
            is_told = true;
        }
        tokio::select! {
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            delivery = completions.next() => if let Some(delivery) = delivery?
                && let Err(lost) = delivery.ack().await {
                debug!(%lost, "completion not acked; it will be redelivered");
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for asked in asked.iter_mut().filter(|asked| asked.answer.is_none()) {
            let known = TrainingRecord::of(&coordinator.store.records(&prepared.run, asked.task).await?);
            (asked.answer, asked.not_here) = (known.preflight, known.not_here);
        }
        let has_said = |asked: &PreflightRequest| asked.answer.is_some() || asked.not_here.is_some();
        if coordinator.is_alone && asked.iter().all(has_said) {
            break;
        }
    }
    let workers = coordinator.coordination.workers(&prepared.run).await;
    told(asked, &workers.unwrap_or_default())
}

/// One for each LM that somebody really trains.
fn questions(prepared: &Prepared, retry: Retry, is_bootstrapped: bool) -> Vec<PreflightRequest> {
    let mut asked: Vec<PreflightRequest> = Vec::new();
    for key in &prepared.keys {
        let recipe = key.recipe(&prepared.job);
        let is_known = asked.iter().any(|asked| asked.recipe.lm == recipe.lm);
        if is_known || !recipe.provider.reads_rows() {
            continue;
        }
        let extent = match is_bootstrapped {
            false => Extent::All,
            true => match extent(&prepared.manifest, &recipe, retry) {
                Some(extent) => extent,
                None => continue,
            },
        };
        let bytes = serde_json::to_vec(&recipe).expect("plain data serialises");
        // Every process asks anew: keys, servers and trainers come and go.
        let start = prepared.manifest.starts.to_le_bytes();
        let task = TaskId::derive(&[b"preflight", &bytes, &start]);
        asked.push(PreflightRequest {
            recipe,
            extent,
            task,
            answer: None,
            not_here: None,
        });
    }
    asked
}

/// What is to be known of a job whose rows are there; none: its training has ended.
fn extent(manifest: &Manifest, recipe: &TrainingSpec, retry: Retry) -> Option<Extent> {
    let is_its = |training: &&TrainingReport| {
        let shard = training.shard.as_ref();
        shard.is_some_and(|shard| shard.recipe == *recipe)
    };
    match manifest.trainings.values().rfind(is_its) {
        None => Some(Extent::All),
        Some(training) => match &training.ending {
            Some(TrainingState::Succeeded(_)) => None,
            Some(TrainingState::Failed(_)) if !retry.trainings() => None,
            Some(_) => Some(Extent::All),
            // It goes on and is paid for, whatever a look ahead may find.
            None if training.id.is_some() => Some(Extent::Taker),
            None => Some(Extent::All),
        },
    }
}

fn message(prepared: &Prepared, asked: &PreflightRequest) -> Vec<u8> {
    encode(&FinetuneMessage::Preflight(PreflightTask {
        v: MESSAGE_VERSION,
        run: prepared.run.clone(),
        task: asked.task,
        recipe: asked.recipe.clone(),
    }))
}

/// Whether a worker is there that has the recipe's trainer, whatever others say.
fn has_trainer(recipe: &TrainingSpec, workers: &[WorkerInfo]) -> bool {
    let mut workers = workers.iter();
    matches!(&recipe.provider, ProviderSpec::Command(command)
        if workers.any(|worker| worker.has_trainer(&command.trainer)))
}

fn told(asked: Vec<PreflightRequest>, workers: &[WorkerInfo]) -> Result<(), RunError> {
    let mut problems = Vec::new();
    for asked in asked {
        let PreflightRequest {
            recipe,
            extent,
            answer,
            ..
        } = asked;
        let provider = recipe.provider.name();
        match (answer, asked.not_here) {
            (
                Some(Preflight {
                    problem: None,
                    warnings,
                }),
                _,
            ) => {
                for warning in &warnings {
                    warn!("fine-tune job of {recipe}: {warning}");
                }
                info!(
                    lm = recipe.lm,
                    provider, "nothing speaks against the fine-tune job"
                );
            }
            (
                Some(Preflight {
                    problem: Some(problem),
                    ..
                }),
                _,
            ) => match extent {
                Extent::All => problems.push(format!("fine-tune job of {recipe}: {problem}")),
                Extent::Taker => warn!("fine-tune job of {recipe}: {problem}"),
            },
            (None, Some(why)) if !has_trainer(&recipe, workers) => {
                problems.push(format!(
                    "fine-tune job of {recipe}: nobody here can carry it out; {why}"
                ));
            }
            (None, _) => warn!(
                "fine-tune job of {recipe}: no worker has said yet whether it can be carried out (bsft-worker --lanes finetune); \
                 going on without knowing"
            ),
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(RunError::Preflight(problems)),
    }
}
