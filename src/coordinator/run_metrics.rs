//! What metrics show of the run: the manifest's own figures, and what is looked up now and then while somebody may ask.

use super::Coordinator;
use crate::broker::Queue;
use crate::metrics::{Done, RunMetrics};
use crate::report::{Manifest, Phase};
use crate::task::RunId;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the services are asked.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// How long a service that is well takes to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Shows what `run.json` says.
pub(super) fn show(metrics: &RunMetrics, manifest: &Manifest) {
    let counts = &manifest.counts;
    metrics.info(&manifest.run.0, &manifest.name);
    metrics.phase(manifest.phase.name(), &Phase::ALL.map(Phase::name));
    let done = Done {
        kept: counts.kept,
        dropped: counts.traces.saturating_sub(counts.kept),
        failed: counts.failed(),
    };
    metrics.tasks(manifest.tasks, done);
    for (lm, totals) in &counts.lms {
        metrics.tokens(lm, totals.prompt_tokens, totals.completion_tokens);
    }
    metrics.cost(manifest.cost_of_all());
}

/// Looks for as long as it is polled. What a service does not tell is not shown until it does.
pub(super) async fn keep(coordinator: &Coordinator, run: &RunId) -> Infallible {
    loop {
        if coordinator.metrics.is_served() {
            look(coordinator, run).await;
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn look(coordinator: &Coordinator, run: &RunId) {
    let shown = &coordinator.metrics.run;
    shown.available(available(coordinator.dir.root()));
    let workers = match coordinator.is_alone {
        true => Some(coordinator.metrics.workers_here()),
        false => told(coordinator.coordination.workers(run))
            .await
            .map(|workers| workers.len()),
    };
    shown.workers(workers);
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        shown.messages(queue.name(), told(coordinator.broker.depth(&queue)).await);
        shown.dead_letters(
            queue.name(),
            told(coordinator.broker.dead_letter_count(&queue)).await,
        );
    }
}

async fn told<T, E>(answer: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(ANSWER_WITHIN, answer).await.ok()?.ok()
}

/// What this user may still write on the folder's file system.
fn available(dir: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(dir).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}
