//! Before the first question to a teacher: would the fine-tune jobs fail for a reason that is there already?
//!
//! The workers that will carry them out are asked, since it is there that keys, trainers and ways to servers are.

use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::finetune::{Known, Preflight, ProviderSpec, Recipe};
use crate::message::{FinetuneMessage, MESSAGE_VERSION, PreflightTask, encode};
use crate::queue::{Lane, Settlement};
use crate::roster::WorkerSign;
use crate::task::TaskId;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How often the answers are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long workers elsewhere may take: there may be none yet, and the teachers' work need not wait for them.
const PATIENCE: Duration = Duration::from_secs(15);

/// How long workers of this process may take: longer than any provider.
const PATIENCE_HERE: Duration = Duration::from_secs(90);

/// How long those who could do it are given to say so, once others are seen that cannot.
const LATECOMERS: Duration = Duration::from_secs(5);

const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// A question and its answer.
struct Asked {
    recipe: Recipe,
    task: TaskId,
    answer: Option<Preflight>,
}

/// Asks; nothing is asked for jobs whose rows are all there.
pub(super) async fn preflight(coordinator: &Coordinator, prepared: &Prepared) -> Result<(), RunError> {
    if prepared.ledger.tally().done() == prepared.tasks() {
        return Ok(());
    }
    let mut asked = questions(prepared);
    if asked.is_empty() {
        return Ok(());
    }
    let lane = Lane::Completions(prepared.run.clone());
    let mut completions = coordinator.queue.consume(&lane, PREFETCH).await?;
    let messages = asked.iter().map(|asked| message(prepared, asked)).collect();
    coordinator.queue.publish(&Lane::Finetune, messages).await?;
    let since = Instant::now();
    let patience = match coordinator.in_flight {
        0 => PATIENCE,
        _ => PATIENCE_HERE,
    };
    let mut unable = Vec::new();
    while asked.iter().any(|asked| asked.answer.is_none()) && since.elapsed() < patience {
        tokio::select! {
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            delivery = completions.next() => if let Some(delivery) = delivery?
                && let Err(lost) = delivery.settle(Settlement::Done).await {
                debug!(%lost, "completion not settled; it comes again");
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        for asked in asked.iter_mut().filter(|asked| asked.answer.is_none()) {
            let records = coordinator.store.records(&prepared.run, asked.task).await?;
            asked.answer = Known::of(&records).preflight;
        }
        unable = finetuners(coordinator, prepared).await;
        let waits_in_vain = |asked: &Asked| asked.answer.is_some() || is_unable(&asked.recipe, &unable);
        if since.elapsed() > LATECOMERS && asked.iter().all(waits_in_vain) {
            break;
        }
    }
    told(asked, &unable)
}

/// One for each LM that somebody really trains.
fn questions(prepared: &Prepared) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for key in &prepared.keys {
        let recipe = key.recipe(&prepared.job);
        let is_known = asked.iter().any(|asked| asked.recipe.lm == recipe.lm);
        if is_known || !recipe.provider.reads_rows() {
            continue;
        }
        let bytes = serde_json::to_vec(&recipe).expect("plain data serialises");
        // Every process asks anew: keys, servers and trainers come and go.
        let start = prepared.manifest.starts.to_le_bytes();
        let task = TaskId::derive(&[b"preflight", &bytes, &start]);
        asked.push(Asked {
            recipe,
            task,
            answer: None,
        });
    }
    asked
}

fn message(prepared: &Prepared, asked: &Asked) -> Vec<u8> {
    encode(&FinetuneMessage::Preflight(PreflightTask {
        v: MESSAGE_VERSION,
        run: prepared.run.clone(),
        task: asked.task,
        recipe: asked.recipe.clone(),
    }))
}

/// The workers elsewhere that take fine-tune tasks.
async fn finetuners(coordinator: &Coordinator, prepared: &Prepared) -> Vec<WorkerSign> {
    let workers = coordinator.roster.workers(&prepared.run).await;
    let mut workers = workers.unwrap_or_default();
    workers.retain(|worker| worker.lanes.iter().any(|lane| lane == Lane::Finetune.name()));
    workers
}

/// Whether workers are there, and none of them has the recipe's trainer.
fn is_unable(recipe: &Recipe, workers: &[WorkerSign]) -> bool {
    match &recipe.provider {
        ProviderSpec::Command(command) => {
            !workers.is_empty()
                && !workers
                    .iter()
                    .any(|worker| worker.trainers.contains(&command.trainer))
        }
        _ => false,
    }
}

fn told(asked: Vec<Asked>, workers: &[WorkerSign]) -> Result<(), RunError> {
    let mut problems = Vec::new();
    for Asked { recipe, answer, .. } in asked {
        let provider = recipe.provider.name();
        match answer {
            Some(Preflight {
                problem: Some(problem),
                ..
            }) => problems.push(format!("fine-tune job of {recipe}: {problem}")),
            Some(Preflight { warnings, .. }) => {
                for warning in &warnings {
                    warn!("fine-tune job of {recipe}: {warning}");
                }
                info!(
                    lm = recipe.lm,
                    provider, "nothing speaks against the fine-tune job"
                );
            }
            None if is_unable(&recipe, workers) => {
                let known: Vec<String> = workers.iter().map(trainers).collect();
                problems.push(format!(
                    "fine-tune job of {recipe}: no worker that takes fine-tune tasks has its trainer ({}); name it in the file that \
                     bsft-worker --trainers reads",
                    known.join(", ")
                ));
            }
            None => warn!(
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

fn trainers(worker: &WorkerSign) -> String {
    match worker.trainers.as_slice() {
        [] => format!("{}: none", worker.process),
        names => format!("{}: {}", worker.process, names.join(" ")),
    }
}
