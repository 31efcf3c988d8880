//! Preflight: checks before the first LM call whether the fine-tune jobs would fail for a reason that already exists.
//!
//! Workers run the checks, since they have the keys, the trainers and the network routes.

use super::context::RunContext;
use super::error::RunError;
use super::prepare::Prepared;
use super::retry_command::Retry;
use super::stored_job::StoredJob;
use crate::broker::{Delivery, Queue};
use crate::coordination::Heartbeat;
use crate::dataset::lm_keys;
use crate::finetune::{Preflight, ProviderSpec, TrainingRecord, TrainingSpec, TrainingState};
use crate::message::{FINETUNE_VERSION, FinetuneMessage, PreflightTask, encode};
use crate::report::{Manifest, TrainingReport};
use crate::task::{RunId, TaskId};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How often the answers are read.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// How long workers of other processes may take. There may be none yet, and the bootstrap need not wait for them.
const TIMEOUT_ELSEWHERE: Duration = Duration::from_secs(15);

/// How long workers of this process may take: longer than any provider.
const TIMEOUT_HERE: Duration = Duration::from_secs(90);

/// After how long without an answer the log names what is awaited.
const SILENCE: Duration = Duration::from_secs(2);

/// How many completions may be unacknowledged.
const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// A preflight task and its answer.
struct PreflightRequest {
    recipe: TrainingSpec,
    scope: Scope,
    task: TaskId,
    answer: Option<Preflight>,
    /// Why some worker cannot run the job.
    unavailable: Option<String>,
}

/// What a preflight decides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Whether the job would succeed: a problem ends the run.
    WholeJob,
    /// Whether a worker can resume a training that may be in progress: a problem is a warning.
    Resume,
}

/// Runs the checks. After the bootstrap they are skipped unless only this process has workers: the jobs themselves wait for workers of
/// other processes.
pub(super) async fn preflight(run: RunContext<'_>, prepared: &Prepared) -> Result<(), RunError> {
    let is_bootstrapped = prepared.log.counts().done() == prepared.tasks.len();
    let workers = run.coordinator.workers;
    if is_bootstrapped && workers.may_be_elsewhere() {
        return Ok(());
    }
    let mut requests = requests(prepared, run.coordinator.retry, is_bootstrapped);
    if requests.is_empty() {
        return Ok(());
    }
    let queue = Queue::Completions(run.id.clone());
    let broker = &run.backends().broker;
    let mut completions = broker.consume(&queue, PREFETCH).await?;
    let messages = requests
        .iter()
        .map(|request| message(run.id, &prepared.stored, request))
        .collect();
    broker.publish(&Queue::Finetune, messages).await?;
    let since = Instant::now();
    let timeout = if workers.are_here() {
        TIMEOUT_HERE
    } else {
        TIMEOUT_ELSEWHERE
    };
    let mut is_wait_logged = false;
    while requests.iter().any(|request| request.answer.is_none()) && since.elapsed() < timeout {
        if !is_wait_logged && since.elapsed() >= SILENCE {
            info!(
                at_most_secs = timeout.as_secs(),
                "waiting for a fine-tune worker's preflight checks"
            );
            is_wait_logged = true;
        }
        tokio::select! {
            () = run.coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            delivery = completions.next() => if let Some(delivery) = delivery? {
                acknowledge(delivery).await;
            },
            () = tokio::time::sleep(POLL_EVERY) => {}
        }
        read_answers(run, &mut requests).await?;
        let is_answered =
            |request: &PreflightRequest| request.answer.is_some() || request.unavailable.is_some();
        if !workers.may_be_elsewhere() && requests.iter().all(is_answered) {
            break;
        }
    }
    // Only a worker of another process may have what those of this process lack.
    let others = if workers.may_be_elsewhere() {
        let listed = run.backends().coordination.workers(run.id).await;
        listed.unwrap_or_default()
    } else {
        Vec::new()
    };
    conclude(requests, &others)
}

/// One request for each LM with a provider that trains.
fn requests(prepared: &Prepared, retry: Retry, is_bootstrapped: bool) -> Vec<PreflightRequest> {
    let (job, manifest) = (&prepared.tasks.job, &prepared.manifest);
    let mut requests: Vec<PreflightRequest> = Vec::new();
    for key in lm_keys(&job.spec) {
        let recipe = job.training_spec(&key);
        let is_requested = requests.iter().any(|request| request.recipe.lm == recipe.lm);
        if is_requested || !recipe.provider.reads_rows() {
            continue;
        }
        let scope = if is_bootstrapped {
            scope_after_bootstrap(manifest, &recipe, retry)
        } else {
            Some(Scope::WholeJob)
        };
        let Some(scope) = scope else { continue };
        let bytes = serde_json::to_vec(&recipe).expect("plain data serialises");
        // Each process asks again: keys, servers and trainers change.
        let start = manifest.starts.to_le_bytes();
        requests.push(PreflightRequest {
            task: TaskId::derive(&[b"preflight", &bytes, &start]),
            recipe,
            scope,
            answer: None,
            unavailable: None,
        });
    }
    requests
}

/// `None` if the training has ended and is not run again.
fn scope_after_bootstrap(manifest: &Manifest, recipe: &TrainingSpec, retry: Retry) -> Option<Scope> {
    let has_recipe = |training: &&TrainingReport| {
        let shard = training.shard.as_ref();
        shard.is_some_and(|shard| shard.recipe == *recipe)
    };
    let Some(training) = manifest.trainings.values().rfind(has_recipe) else {
        return Some(Scope::WholeJob);
    };
    match &training.ending {
        Some(TrainingState::Succeeded(_)) => None,
        Some(TrainingState::Failed(_)) if !retry.trainings() => None,
        Some(_) => Some(Scope::WholeJob),
        // It is in progress and paid for, whatever a preflight finds.
        None if training.id.is_some() => Some(Scope::Resume),
        None => Some(Scope::WholeJob),
    }
}

fn message(run: &RunId, job: &StoredJob, request: &PreflightRequest) -> Vec<u8> {
    let TrainingSpec { lm, predictor, .. } = &request.recipe;
    encode(&FinetuneMessage::Preflight(PreflightTask {
        v: FINETUNE_VERSION,
        run: run.clone(),
        job: job.digest.clone(),
        task: request.task,
        lm: lm.clone(),
        predictor: predictor.clone(),
    }))
}

async fn acknowledge(completion: Delivery) {
    if let Err(error) = completion.ack().await {
        debug!(%error, "completion not acknowledged; it is redelivered");
    }
}

async fn read_answers(run: RunContext<'_>, requests: &mut [PreflightRequest]) -> Result<(), RunError> {
    let store = &run.backends().store;
    for request in requests.iter_mut().filter(|request| request.answer.is_none()) {
        let known = TrainingRecord::from_slots(&store.records(run.id, request.task).await?);
        (request.answer, request.unavailable) = (known.preflight, known.not_here);
    }
    Ok(())
}

/// Logs warnings; all problems together are the error.
fn conclude(requests: Vec<PreflightRequest>, workers: &[Heartbeat]) -> Result<(), RunError> {
    let mut problems = Vec::new();
    for request in requests {
        let recipe = &request.recipe;
        let Some(answer) = request.answer else {
            match request.unavailable {
                Some(why) if !has_trainer(recipe, workers) => problems.push(format!(
                    "fine-tune job of {recipe}: no connected worker can run it; {why}"
                )),
                _ => warn!(
                    job = %recipe,
                    "no worker answered the preflight; continuing without it"
                ),
            }
            continue;
        };
        match (answer.problem, request.scope) {
            (None, _) => {
                for warning in &answer.warnings {
                    warn!("fine-tune job of {recipe}: {warning}");
                }
                info!(
                    lm = recipe.lm,
                    provider = recipe.provider.name(),
                    "preflight passed"
                );
            }
            (Some(problem), Scope::WholeJob) => {
                problems.push(format!("fine-tune job of {recipe}: {problem}"));
            }
            (Some(problem), Scope::Resume) => warn!("fine-tune job of {recipe}: {problem}"),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(RunError::Preflight(problems))
    }
}

/// Whether some worker has the recipe's trainer, although another worker lacks it.
fn has_trainer(recipe: &TrainingSpec, workers: &[Heartbeat]) -> bool {
    let mut workers = workers.iter();
    matches!(&recipe.provider, ProviderSpec::Command(command)
        if workers.any(|heartbeat| heartbeat.worker.has_trainer(&command.trainer)))
}
