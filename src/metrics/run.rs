//! What the coordinator tells of its run. All of it comes from what `run.json` has, or was asked for just now.

use super::{Registry, names};
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

/// The run's gauges; a process has one run.
pub struct RunMetrics {
    info: IntGaugeVec,
    phase: IntGaugeVec,
    tasks: IntGaugeVec,
    done: IntGaugeVec,
    outstanding: IntGaugeVec,
    republished: IntCounterVec,
    tokens: IntGaugeVec,
    cost: GaugeVec,
    workers: IntGaugeVec,
    available: IntGaugeVec,
    messages: IntGaugeVec,
    dead_letters: IntGaugeVec,
    jobs: IntGaugeVec,
    progress: GaugeVec,
    step: IntGaugeVec,
    loss: GaugeVec,
}

/// Tasks with an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Their rows are trained on.
    pub kept: usize,
    /// The metric refused the trace.
    pub dropped: usize,
    /// There is no trace.
    pub failed: usize,
}

/// Fine-tune jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Not ended.
    pub open: usize,
    /// With a model.
    pub trained: usize,
    /// Ended without.
    pub failed: usize,
}

/// How far an open training is, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainingMetrics {
    /// 0 to 1.
    pub ratio: Option<f64>,
    /// The step it is at.
    pub step: Option<u64>,
    /// The latest training loss.
    pub loss: Option<f64>,
}

impl RunMetrics {
    pub(super) fn new(registry: &Registry) -> RunMetrics {
        RunMetrics {
            info: registry.gauges(&names::RUN_INFO),
            phase: registry.gauges(&names::RUN_PHASE),
            tasks: registry.gauges(&names::RUN_TASKS),
            done: registry.gauges(&names::RUN_TASKS_DONE),
            outstanding: registry.gauges(&names::RUN_TASKS_OUTSTANDING),
            republished: registry.counters(&names::RUN_TASKS_REPUBLISHED),
            tokens: registry.gauges(&names::RUN_TOKENS),
            cost: registry.float_gauges(&names::RUN_COST),
            workers: registry.gauges(&names::RUN_WORKERS),
            available: registry.gauges(&names::RUN_DIR_AVAILABLE),
            messages: registry.gauges(&names::QUEUE_MESSAGES),
            dead_letters: registry.gauges(&names::QUEUE_DEAD_LETTERS),
            jobs: registry.gauges(&names::FINETUNE_JOBS),
            progress: registry.float_gauges(&names::FINETUNE_PROGRESS),
            step: registry.gauges(&names::FINETUNE_STEP),
            loss: registry.float_gauges(&names::FINETUNE_LOSS),
        }
    }

    /// Which run this is.
    pub fn info(&self, run: &str, name: &str) {
        self.info.with_label_values(&[run, name]).set(1);
        // There from the start, so that the first one is seen to be one more.
        self.republished(0);
    }

    /// The phase, of all that there are.
    pub fn phase(&self, now: &str, all: &[&str]) {
        for phase in all {
            set(
                &self.phase.with_label_values(&[phase]),
                usize::from(*phase == now),
            );
        }
    }

    /// How many tasks there are, and what has become of them.
    pub fn tasks(&self, all: usize, done: Done) {
        set(&alone(&self.tasks), all);
        let Done {
            kept,
            dropped,
            failed,
        } = done;
        for (outcome, tasks) in [("kept", kept), ("dropped", dropped), ("failed", failed)] {
            set(&self.done.with_label_values(&[outcome]), tasks);
        }
    }

    /// How many are with the workers.
    pub fn outstanding(&self, tasks: usize) {
        set(&alone(&self.outstanding), tasks);
    }

    /// Tasks are published again.
    pub fn republished(&self, tasks: usize) {
        (self.republished.with_label_values::<&str>(&[])).inc_by(tasks as u64);
    }

    /// What an LM's answers came to.
    pub fn tokens(&self, lm: &str, prompt: u64, completion: u64) {
        for (kind, tokens) in [("prompt", prompt), ("completion", completion)] {
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.tokens.with_label_values(&[lm, kind]).set(tokens);
        }
    }

    /// What all of them cost, if that is known.
    pub fn cost(&self, dollars: Option<f64>) {
        known(&self.cost, &[], dollars);
    }

    /// Workers with a sign of life, if that is known.
    pub fn workers(&self, workers: Option<usize>) {
        known_count(&self.workers, &[], workers.map(|n| n as u64));
    }

    /// Room on DIR's file system, if that is known.
    pub fn available(&self, bytes: Option<u64>) {
        known_count(&self.available, &[], bytes);
    }

    /// Ready messages of a queue, or `None` if unknown.
    pub fn messages(&self, queue: &str, waiting: Option<usize>) {
        known_count(&self.messages, &[queue], waiting.map(|n| n as u64));
    }

    /// Dead letters of a queue, or `None` if unknown.
    pub fn dead_letters(&self, queue: &str, letters: Option<usize>) {
        known_count(&self.dead_letters, &[queue], letters.map(|n| n as u64));
    }

    /// How many fine-tune jobs are how far.
    pub fn jobs(&self, jobs: JobCounts) {
        let JobCounts {
            open,
            trained,
            failed,
        } = jobs;
        for (state, jobs) in [("open", open), ("trained", trained), ("failed", failed)] {
            set(&self.jobs.with_label_values(&[state]), jobs);
        }
    }

    /// The progress of an open training.
    pub fn training(&self, lm_key: &str, standing: TrainingMetrics) {
        known(&self.progress, &[lm_key], standing.ratio);
        known_count(&self.step, &[lm_key], standing.step);
        known(&self.loss, &[lm_key], standing.loss);
    }
}

fn alone(gauge: &IntGaugeVec) -> IntGauge {
    gauge.with_label_values::<&str>(&[])
}

fn set(gauge: &IntGauge, count: usize) {
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
}

/// Sets a gauge, or removes it if the value is unknown.
fn known(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        None => drop(gauge.remove_label_values(labels)),
    }
}

fn known_count(gauge: &IntGaugeVec, labels: &[&str], value: Option<u64>) {
    match value {
        Some(value) => (gauge.with_label_values(labels)).set(i64::try_from(value).unwrap_or(i64::MAX)),
        None => drop(gauge.remove_label_values(labels)),
    }
}
