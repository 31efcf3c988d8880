//! Watches open fine-tune tasks: warns when no worker can run them, and finds tasks whose message is lost.

use super::context::RunContext;
use super::error::RunError;
use super::lost_tasks::LostTaskDetector;
use super::trainings::Trainings;
use crate::broker::Queue;
use crate::coordination::WorkerInfo;
use crate::error_action::ErrorAction;
use crate::task::TaskId;
use std::time::Duration;
use tokio::time::Instant;

/// How often the user gets a note about missing workers.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// How often the coordinator checks for lost fine-tune tasks.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How long a fine-tune task may have neither a message nor a lease: several times the pause between two polls of its training.
const LOST_AFTER: Duration = Duration::from_secs(60);

pub(super) struct FinetuneWatchdog {
    lost: LostTaskDetector,
    swept: Instant,
    reported: Instant,
}

impl FinetuneWatchdog {
    pub(super) fn new() -> FinetuneWatchdog {
        FinetuneWatchdog {
            lost: LostTaskDetector::new(LOST_AFTER),
            swept: Instant::now(),
            reported: Instant::now(),
        }
    }

    /// Periodically warns when no connected worker can run the pending jobs.
    pub(super) async fn report_missing_workers(&mut self, run: RunContext<'_>, trainings: &Trainings) {
        if self.reported.elapsed() < REPORT_EVERY {
            return;
        }
        self.reported = Instant::now();
        let (ended, all) = trainings.count();
        // Workers of this process take fine-tune tasks.
        if ended == all || run.coordinator.workers.are_here() {
            return;
        }
        let listed = run.backends().coordination.workers(run.id).await;
        let heartbeats = listed.unwrap_or_default();
        let workers: Vec<WorkerInfo> = heartbeats.into_iter().map(|heartbeat| heartbeat.worker).collect();
        let are_taken = workers.iter().any(|worker| worker.takes(&Queue::Finetune));
        let missing = if !are_taken {
            "no worker takes fine-tune tasks; start one with bsft-worker --lanes finetune".to_owned()
        } else if let Some(trainer) = trainings.missing_trainers(&workers).first() {
            format!("no worker has the trainer {trainer}; start one with bsft-worker --trainers FILE")
        } else {
            return;
        };
        let note = format!("fine-tune jobs: {ended} of {all} have ended; {missing}");
        run.coordinator.progress.note(&note);
    }

    /// Returns the open tasks that are lost, if a check is due.
    pub(super) async fn find_lost(
        &mut self,
        run: RunContext<'_>,
        trainings: &Trainings,
    ) -> Result<Vec<TaskId>, RunError> {
        if self.swept.elapsed() < SWEEP_EVERY {
            return Ok(Vec::new());
        }
        self.swept = Instant::now();
        let backends = run.backends();
        let is_queue_empty = match backends.broker.depth(&Queue::Finetune).await {
            Ok(waiting) => waiting == 0,
            Err(error) if error.action() == ErrorAction::Halt => return Err(error.into()),
            Err(_) => return Ok(Vec::new()),
        };
        let suspects = if is_queue_empty {
            trainings.unpolled(SWEEP_EVERY * 4)
        } else {
            Vec::new()
        };
        let lost = self.lost.find(backends.store.as_ref(), run.id, &suspects).await?;
        Ok(suspects.into_iter().filter(|task| lost.contains(task)).collect())
    }
}
