//! The run's exported metrics: figures of the manifest, and figures that are polled from the services while metrics are served.

use super::context::RunContext;
use crate::broker::Queue;
use crate::metrics::{Done, RunMetrics};
use crate::report::{Manifest, Phase};
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How often the services are polled.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// How long a healthy service takes to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Exports the manifest's figures.
pub(super) fn export_manifest(metrics: &RunMetrics, manifest: &Manifest) {
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
    for (lm, totals) in &counts.unsettled {
        metrics.unsettled(lm, totals.calls, totals.tokens());
    }
    metrics.cost(manifest.total_cost());
}

/// Polls the services until dropped; unknown values are not exported.
pub(super) async fn poll_services(run: RunContext<'_>) -> Infallible {
    loop {
        if run.coordinator.metrics.is_served() {
            poll_once(run).await;
        }
        sleep(POLL_EVERY).await;
    }
}

async fn poll_once(run: RunContext<'_>) {
    let (backends, metrics) = (run.backends(), &run.coordinator.metrics);
    metrics.run.available(available_bytes(run.coordinator.dir.root()));
    let workers = if run.coordinator.workers.may_be_elsewhere() {
        answer(backends.coordination.workers(run.id))
            .await
            .map(|workers| workers.len())
    } else {
        Some(metrics.workers_here())
    };
    metrics.run.workers(workers);
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        let waiting = answer(backends.broker.depth(&queue)).await;
        metrics.run.messages(queue.name(), waiting);
        let dead = answer(backends.broker.dead_letter_count(&queue)).await;
        metrics.run.dead_letters(queue.name(), dead);
    }
}

/// `None` if the service fails or does not answer in time.
async fn answer<T, E>(call: impl Future<Output = Result<T, E>>) -> Option<T> {
    timeout(ANSWER_WITHIN, call).await.ok()?.ok()
}

/// Bytes that this user may still write to the file system of the run directory.
fn available_bytes(dir: &Path) -> Option<u64> {
    let room = rustix::fs::statvfs(dir).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}
