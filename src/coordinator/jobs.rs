//! The fine-tune jobs of a run: one per LM key, each with what `run.json` and the store know of it.

use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::finetune::{
    ID_SLOT, Known, Shard, Trained, Training, TrainingId, TrainingOutcome, TrainingProgress,
};
use crate::message::{FinetuneMessage, FinetuneTask, MESSAGE_VERSION, encode};
use crate::metrics::{JobCounts, RunMetrics, Standing};
use crate::queue::Lane;
use crate::report::TrainingReport;
use crate::run_dir::RunDir;
use crate::task::TaskId;
use crate::telemetry::spans;
use crate::trace::Outcome;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Span, debug, info, warn};

/// The jobs, in the order of the LM keys.
pub(super) struct Jobs {
    jobs: Vec<Job>,
}

struct Job {
    shard: Shard,
    /// The first attempt's task: what the manifest knows the training by.
    name: String,
    /// This attempt's.
    task: TaskId,
    known: Known,
    /// When a worker was seen to look at the training last.
    looked: Instant,
    ending: Option<TrainingOutcome>,
    /// While it goes on.
    span: Span,
}

impl Jobs {
    /// What is to be trained, and what of it has been.
    pub(super) async fn plan(
        coordinator: &Coordinator,
        prepared: &mut Prepared,
        shards: Vec<Shard>,
    ) -> Result<Jobs, RunError> {
        let mut jobs = Vec::with_capacity(shards.len());
        for shard in shards {
            jobs.push(job(coordinator, prepared, shard).await?);
        }
        tell_of_others(prepared, &jobs);
        let mut jobs = Jobs { jobs };
        jobs.enter(prepared);
        jobs.show(&coordinator.metrics.run);
        for job in jobs.jobs.iter_mut().filter(|job| job.ending.is_none()) {
            job.span = spans::training(&prepared.run, job.task, &job.shard);
        }
        Ok(jobs)
    }

    /// Whether every job has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.jobs.iter().all(|job| job.ending.is_some())
    }

    /// Whether somebody stopped a training.
    pub(super) fn are_any_cancelled(&self) -> bool {
        let mut endings = self.jobs.iter().filter_map(|job| job.ending.as_ref());
        endings.any(|ending| ending.training == Training::Cancelled)
    }

    /// Whether a training may go on somewhere.
    pub(super) fn are_at_work(&self) -> bool {
        self.open().any(|job| job.known.may_be_started())
    }

    /// How many have ended, of how many.
    pub(super) fn count(&self) -> (usize, usize) {
        let ended = self.jobs.iter().filter(|job| job.ending.is_some());
        (ended.count(), self.jobs.len())
    }

    /// The tasks that have not ended and that no worker was seen at for so long.
    pub(super) fn unseen(&self, patience: Duration) -> Vec<TaskId> {
        let unseen = self.open().filter(|job| job.looked.elapsed() >= patience);
        unseen.map(|job| job.task).collect()
    }

    /// How far each open job is, on a line.
    pub(super) fn progress(&self) -> Vec<String> {
        let lines = self.open().map(|job| {
            let mut line = job.shard.to_string();
            match &job.known.progress {
                // Writing to a String cannot fail.
                Some(progress) => drop(write!(line, " {progress}")),
                None if job.known.may_be_started() => line.push_str(" started"),
                None => line.push_str(" waiting for a worker"),
            }
            line
        });
        lines.collect()
    }

    /// What a cancelled run could not stop.
    pub(super) fn left_running(&self) -> String {
        let running = self.open().filter(|job| job.known.may_be_started());
        let names: Vec<String> = running
            .map(|job| match &job.known.id {
                Some(id) => format!("{} ({})", id.0, job.shard),
                None => job.shard.to_string(),
            })
            .collect();
        format!(
            "no worker has stopped these trainings, which may still go on: {}",
            names.join(", ")
        )
    }

    /// Leaves the rows where workers find them, and publishes every job that has not ended.
    pub(super) async fn publish(
        &self,
        coordinator: &Coordinator,
        prepared: &Prepared,
    ) -> Result<(), RunError> {
        for job in self.open() {
            leave(coordinator, prepared, &job.shard).await?;
            // An earlier store may have known it; the one that there is now may not.
            if let Some(id) = &job.known.id {
                let id = vec![(ID_SLOT, id.0.clone().into_bytes())];
                coordinator.store.import(&prepared.run, job.task, id).await?;
            }
        }
        let messages = self.open().map(|job| message(prepared, job)).collect();
        Ok(coordinator.queue.publish(&Lane::Finetune, messages).await?)
    }

    /// Publishes a job whose message is lost.
    pub(super) async fn publish_again(
        &self,
        coordinator: &Coordinator,
        prepared: &Prepared,
        task: TaskId,
    ) -> Result<(), RunError> {
        let Some(job) = self.open().find(|job| job.task == task) else {
            return Ok(());
        };
        warn!(shard = %job.shard, "nobody has this fine-tune task and no message of it is left: publishing it again");
        coordinator.metrics.run.republished(1);
        let message = message(prepared, job);
        Ok(coordinator.queue.publish(&Lane::Finetune, vec![message]).await?)
    }

    /// Takes in what the store knows by now.
    pub(super) async fn look(
        &mut self,
        coordinator: &Coordinator,
        prepared: &mut Prepared,
    ) -> Result<(), RunError> {
        let (store, run) = (&coordinator.store, prepared.run.clone());
        let mut has_news = false;
        for job in self.jobs.iter_mut().filter(|job| job.ending.is_none()) {
            // Records first: they are gone once there is an outcome.
            let known = Known::of(&store.records(&run, job.task).await?);
            if let Some(ending) = outcome(coordinator, prepared, job.task).await? {
                job.ends(ending);
                has_news = true;
                continue;
            }
            // What it knew before and does not now, it has lost; the training is where it was.
            let known = Known {
                id: known.id.or_else(|| job.known.id.clone()),
                started_ms: known.started_ms.or(job.known.started_ms),
                progress: known.progress.or_else(|| job.known.progress.clone()),
                looked_ms: known.looked_ms,
                ..Known::default()
            };
            if known.looked_ms != job.known.looked_ms {
                job.looked = Instant::now();
            }
            has_news |= (&known.id, &known.progress) != (&job.known.id, &job.known.progress);
            job.known = known;
            // The rows of what is not started are needed yet.
            if !job.known.may_be_started() {
                leave(coordinator, prepared, &job.shard).await?;
            }
        }
        if has_news {
            self.enter(prepared);
            prepared.tell(coordinator).await?;
        }
        coordinator.progress.training(self.count(), &self.progress());
        self.show(&coordinator.metrics.run);
        Ok(())
    }

    /// Shows how far the jobs are.
    fn show(&self, metrics: &RunMetrics) {
        let mut counts = JobCounts::default();
        for job in &self.jobs {
            let standing = match job.ending.as_ref().map(|ending| &ending.training) {
                None => {
                    counts.open += 1;
                    job.known.progress.as_ref().map(standing)
                }
                Some(Training::Succeeded(_)) => {
                    counts.trained += 1;
                    None
                }
                Some(_) => {
                    counts.failed += 1;
                    None
                }
            };
            metrics.training(&job.lm_key(), standing.unwrap_or_default());
        }
        metrics.jobs(counts);
    }

    /// Removes the rows from where workers find them: everything has ended.
    pub(super) async fn clear_away(&self, coordinator: &Coordinator, prepared: &Prepared) {
        for job in self
            .jobs
            .iter()
            .filter(|job| job.shard.recipe.provider.reads_rows())
        {
            for file in [&job.shard.data].into_iter().chain(&job.shard.validation) {
                if let Err(error) = coordinator.depot.remove(&prepared.run, file).await {
                    debug!(%error, "training file left behind; it goes away by itself");
                }
            }
        }
    }

    /// The models, or what kept some jobs from having one.
    pub(super) fn conclude(
        &mut self,
        prepared: &mut Prepared,
        dir: &RunDir,
    ) -> Result<Vec<Trained>, RunError> {
        self.enter(prepared);
        let (mut models, mut failures) = (Vec::new(), Vec::new());
        let mut is_to_be_retried = false;
        for job in &self.jobs {
            match job.ending.as_ref().map(|ending| &ending.training) {
                Some(Training::Succeeded(trained)) => models.push(trained.clone()),
                ending => {
                    let reason = match ending {
                        Some(Training::Failed(reason)) => reason,
                        Some(Training::Cancelled) => "the training was stopped at the provider",
                        _ => "it has not ended",
                    };
                    failures.push(format!("fine-tune job of {}: {reason}", job.shard));
                    is_to_be_retried |= job.shard.data.rows >= job.shard.recipe.provider.least_rows();
                }
            }
        }
        if failures.is_empty() {
            return Ok(models);
        }
        if is_to_be_retried {
            let kept = match models.len() {
                0 => String::new(),
                n => format!("; the models of the {n} that succeeded are kept"),
            };
            failures.push(format!(
                "mend it, then train what failed anew{kept}:\n  bsft-coordinator retry {}",
                dir.root().display()
            ));
        }
        Err(RunError::Training(failures))
    }

    /// Writes down in the manifest what is known of every job.
    fn enter(&mut self, prepared: &mut Prepared) {
        for (job, report) in self.jobs.iter().zip(&mut prepared.manifest.shards) {
            let ending = job.ending.as_ref().map(|ending| &ending.training);
            let id = job.ending.as_ref().and_then(|ending| ending.id.clone());
            let id = id.or_else(|| job.known.id.clone());
            report.training = id.as_ref().map(|id| id.0.clone());
            report.progress = job.known.progress.clone().filter(|_| ending.is_none());
            if let Some(Training::Succeeded(trained)) = ending {
                report.model.clone_from(&trained.model);
                report.api_base.clone_from(&trained.api_base);
                (report.trained_tokens, report.loss) = (trained.tokens, trained.loss);
            }
            report.failure = match ending {
                Some(Training::Failed(reason)) => Some(reason.clone()),
                Some(Training::Cancelled) => Some("cancelled".to_owned()),
                _ => None,
            };
            // Without rows nothing is asked for.
            if job.is_empty() {
                continue;
            }
            let training = prepared.manifest.trainings.entry(job.name.clone());
            let training = training.or_insert_with(|| TrainingReport::of(&job.shard));
            training.id = id;
            training.ending = ending.cloned();
        }
    }

    fn open(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.ending.is_none())
    }
}

impl Job {
    /// As its training file is called.
    fn lm_key(&self) -> String {
        let recipe = &self.shard.recipe;
        match &recipe.predictor {
            None => recipe.lm.clone(),
            Some(predictor) => format!("{}@{predictor}", recipe.lm),
        }
    }

    fn ends(&mut self, ending: TrainingOutcome) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if let Some(id) = &ending.id {
            span.record("training", &id.0);
        }
        spans::training_ended(&span, &ending.training);
        self.ending = Some(ending);
    }

    fn is_empty(&self) -> bool {
        self.shard.data.rows < self.shard.recipe.provider.least_rows()
    }
}

/// A shard's job as earlier processes have left it.
async fn job(coordinator: &Coordinator, prepared: &mut Prepared, shard: Shard) -> Result<Job, RunError> {
    let first = task_id(&shard, 0);
    let mut job = Job {
        name: first.to_string(),
        task: first,
        known: Known::default(),
        looked: Instant::now(),
        ending: None,
        span: Span::none(),
        shard,
    };
    if job.is_empty() {
        job.ending = Some(empty(prepared, &coordinator.dir, &job.shard));
        return Ok(job);
    }
    let mut report = match prepared.manifest.trainings.get(&job.name) {
        Some(report) => report.clone(),
        None => TrainingReport::of(&job.shard),
    };
    loop {
        job.task = task_id(&job.shard, report.attempt);
        job.known.id.clone_from(&report.id);
        job.ending = match &report.ending {
            Some(training) => Some(TrainingOutcome {
                id: report.id.clone(),
                training: training.clone(),
            }),
            None => outcome(coordinator, prepared, job.task).await?,
        };
        let is_over = match job.ending.as_ref().map(|ending| &ending.training) {
            // To compile again is to take the cancellation back.
            Some(Training::Cancelled) => true,
            Some(Training::Failed(_)) => coordinator.retry.trainings(),
            _ => false,
        };
        if !is_over {
            break;
        }
        report.attempt += 1;
        (report.id, report.ending) = (None, None);
    }
    prepared.manifest.trainings.insert(job.name.clone(), report);
    Ok(job)
}

/// Derived from all that a training depends on: the same data and arguments are the same training; another attempt is another one.
fn task_id(shard: &Shard, attempt: u32) -> TaskId {
    let recipe = serde_json::to_vec(&shard.recipe).expect("plain data serialises");
    let validation = shard.validation.as_ref().map_or("", |file| &file.sha256);
    TaskId::derive(&[
        b"finetune",
        &recipe,
        shard.data.sha256.as_bytes(),
        validation.as_bytes(),
        &attempt.to_le_bytes(),
    ])
}

fn message(prepared: &Prepared, job: &Job) -> Vec<u8> {
    encode(&FinetuneMessage::Train(FinetuneTask {
        v: MESSAGE_VERSION,
        run: prepared.run.clone(),
        task: job.task,
        shard: job.shard.clone(),
    }))
}

/// Leaves the shard's rows where workers find them, unless they are there.
async fn leave(coordinator: &Coordinator, prepared: &Prepared, shard: &Shard) -> Result<(), RunError> {
    if !shard.recipe.provider.reads_rows() {
        return Ok(());
    }
    for file in [&shard.data].into_iter().chain(&shard.validation) {
        if !coordinator.depot.has(&prepared.run, file).await? {
            let path = coordinator.dir.data(&file.name);
            coordinator.depot.put(&prepared.run, file, &path).await?;
        }
    }
    Ok(())
}

fn standing(progress: &TrainingProgress) -> Standing {
    let steps = || Some(progress.step? as f64 / progress.total_steps.filter(|total| *total > 0)? as f64);
    let ratio = progress.percent.map(|percent| percent / 100.0).or_else(steps);
    Standing {
        ratio: ratio.map(|ratio| ratio.clamp(0.0, 1.0)),
        step: progress.step,
        loss: progress.loss,
    }
}

async fn outcome(
    coordinator: &Coordinator,
    prepared: &Prepared,
    task: TaskId,
) -> Result<Option<TrainingOutcome>, RunError> {
    let Some(bytes) = coordinator.store.outcome(&prepared.run, task).await? else {
        return Ok(None);
    };
    Ok(match Outcome::decode(bytes) {
        Ok(Outcome::Training(json)) => serde_json::from_str(&json).ok(),
        _ => None,
    })
}

/// Says which trainings were asked for by an earlier form of the job and have not ended as far as is known: they cost money.
fn tell_of_others(prepared: &Prepared, jobs: &[Job]) {
    for (name, training) in &prepared.manifest.trainings {
        let is_ours = jobs.iter().any(|job| job.name == *name);
        if let (false, None, Some(TrainingId(id))) = (is_ours, &training.ending, &training.id) {
            info!(
                training = id,
                provider = training.provider,
                lm = training.lm,
                "the job has changed since this training was started; it may still go on: stop it at the provider if it is not wanted"
            );
        }
    }
}

fn empty(prepared: &Prepared, dir: &RunDir, shard: &Shard) -> TrainingOutcome {
    let tally = prepared.ledger.tally();
    let (rows, least) = (shard.data.rows, shard.recipe.provider.least_rows());
    let reason = if rows > 0 {
        format!(
            "{rows} training rows, but provider {} takes no fewer than {least}: more examples, a weaker metric or a better \
             teacher give more",
            shard.recipe.provider.name()
        )
    } else if tally.traces == 0 {
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
