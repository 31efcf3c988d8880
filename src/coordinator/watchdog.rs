//! While fine-tune jobs run: telling what is waited for, and finding tasks whose message is lost.

use super::lost_tasks::LostTaskDetector;
use super::prepare::Prepared;
use super::trainings::Trainings;
use super::{Coordinator, RunError};
use crate::broker::{Queue, Recourse};
use crate::task::TaskId;
use std::time::Duration;
use tokio::time::Instant;

/// How often the user is told what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(20);

/// How often the coordinator looks for fine-tune tasks whose message is lost.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How long nobody may hold a fine-tune task: several times as long as it is left alone between two looks at its training.
const ABANDONED: Duration = Duration::from_secs(60);

/// Looks after fine-tune tasks while they are waited for.
pub(super) struct FinetuneWatchdog {
    watch: LostTaskDetector,
    looked: Instant,
    told: Instant,
}

impl FinetuneWatchdog {
    pub(super) fn new() -> FinetuneWatchdog {
        FinetuneWatchdog {
            watch: LostTaskDetector::new(ABANDONED),
            looked: Instant::now(),
            told: Instant::now(),
        }
    }

    /// Says now and then that nobody is there who could do what is waited for.
    pub(super) async fn tell(&mut self, coordinator: &Coordinator, prepared: &Prepared, jobs: &Trainings) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let workers = coordinator
            .coordination
            .workers(&prepared.run)
            .await
            .unwrap_or_default();
        let is_taken =
            coordinator.in_flight > 0 || workers.iter().any(|worker| worker.takes(&Queue::Finetune));
        let (ended, all) = jobs.count();
        let missing = match (is_taken, jobs.without_trainer(&workers).as_slice()) {
            _ if ended == all => return,
            (false, _) => {
                "no worker seen that takes fine-tune tasks: start one with bsft-worker --lanes finetune"
                    .to_owned()
            }
            (true, [trainer, ..]) if coordinator.in_flight == 0 => {
                format!(
                    "no worker seen that has the trainer {trainer}: start one with bsft-worker --trainers FILE"
                )
            }
            (true, _) => return,
        };
        let note = format!("fine-tune jobs: {ended} of {all} have ended; {missing}");
        coordinator.progress.note(&note);
    }

    /// Those of the open tasks that are lost.
    pub(super) async fn lost(
        &mut self,
        coordinator: &Coordinator,
        prepared: &Prepared,
        jobs: &Trainings,
    ) -> Result<Vec<TaskId>, RunError> {
        if self.looked.elapsed() < SWEEP_EVERY {
            return Ok(Vec::new());
        }
        self.looked = Instant::now();
        let is_empty = match coordinator.broker.depth(&Queue::Finetune).await {
            Ok(waiting) => waiting == 0,
            Err(error) if error.recourse() == Recourse::Halt => return Err(error.into()),
            Err(_) => return Ok(Vec::new()),
        };
        let suspects = match is_empty {
            true => jobs.unseen(SWEEP_EVERY * 4),
            false => Vec::new(),
        };
        let lost = self.watch.lost(coordinator, &prepared.run, &suspects).await?;
        Ok(suspects.into_iter().filter(|task| lost.contains(task)).collect())
    }
}
