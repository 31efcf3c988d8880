//! The coordinator's metrics of its run. All values come from `run.json` or were requested for this update.

use super::{Registry, names};
use prometheus::{GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

/// The gauges of the run. A process has one run.
pub struct RunMetrics {
    info: IntGaugeVec,
    phase: IntGaugeVec,
    tasks: IntGaugeVec,
    done: IntGaugeVec,
    outstanding: IntGaugeVec,
    republished: IntCounterVec,
    tokens: IntGaugeVec,
    cost: GaugeVec,
    unsettled_calls: IntGaugeVec,
    unsettled_tokens: IntGaugeVec,
    workers: IntGaugeVec,
    available: IntGaugeVec,
    messages: IntGaugeVec,
    dead_letters: IntGaugeVec,
    jobs: IntGaugeVec,
    progress: GaugeVec,
    step: IntGaugeVec,
    loss: GaugeVec,
}

/// The number of tasks by outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its rows are training rows.
    pub kept: usize,
    /// The metric rejected the trace.
    pub dropped: usize,
    /// The task has no trace.
    pub failed: usize,
}

/// The number of fine-tune jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub open: usize,
    pub trained: usize,
    /// Ended without a model.
    pub failed: usize,
}

/// The progress of an open training, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TrainingMetrics {
    /// The completed fraction, 0 to 1.
    pub ratio: Option<f64>,
    /// The current step.
    pub step: Option<u64>,
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
            unsettled_calls: registry.gauges(&names::RUN_UNSETTLED_CALLS),
            unsettled_tokens: registry.gauges(&names::RUN_UNSETTLED_TOKENS),
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

    /// Sets the labels that identify the run.
    pub fn info(&self, run: &str, name: &str) {
        self.info.with_label_values(&[run, name]).set(1);
        // Created at 0, so that the first increase is visible.
        self.republished(0);
    }

    /// Sets the current phase; the gauges of the other phases are 0.
    pub fn phase(&self, now: &str, all: &[&str]) {
        for phase in all {
            set(
                &self.phase.with_label_values(&[phase]),
                usize::from(*phase == now),
            );
        }
    }

    /// Sets the number of tasks, in total and by outcome.
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

    /// Sets the number of tasks that are published and have no outcome yet.
    pub fn outstanding(&self, tasks: usize) {
        set(&alone(&self.outstanding), tasks);
    }

    /// Counts tasks that are republished.
    pub fn republished(&self, tasks: usize) {
        (self.republished.with_label_values::<&str>(&[])).inc_by(tasks as u64);
    }

    /// Sets the tokens of an LM's answers.
    pub fn tokens(&self, lm: &str, prompt: u64, completion: u64) {
        for (kind, tokens) in [("prompt", prompt), ("completion", completion)] {
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.tokens.with_label_values(&[lm, kind]).set(tokens);
        }
    }

    /// Sets the cost of all answers, or `None` if unknown.
    pub fn cost(&self, dollars: Option<f64>) {
        known(&self.cost, &[], dollars);
    }

    /// Sets the calls of an LM that may have been paid, and the most tokens that they can have cost.
    pub fn unsettled(&self, lm: &str, calls: u64, tokens: u64) {
        known_count(&self.unsettled_calls, &[lm], Some(calls));
        known_count(&self.unsettled_tokens, &[lm], Some(tokens));
    }

    /// Sets the number of workers with a recent heartbeat, or `None` if unknown.
    pub fn workers(&self, workers: Option<usize>) {
        known_count(&self.workers, &[], workers.map(|n| n as u64));
    }

    /// Sets the bytes available on DIR's file system, or `None` if unknown.
    pub fn available(&self, bytes: Option<u64>) {
        known_count(&self.available, &[], bytes);
    }

    /// Sets the number of ready messages of a queue, or `None` if unknown.
    pub fn messages(&self, queue: &str, waiting: Option<usize>) {
        known_count(&self.messages, &[queue], waiting.map(|n| n as u64));
    }

    /// Sets the number of dead letters of a queue, or `None` if unknown.
    pub fn dead_letters(&self, queue: &str, letters: Option<usize>) {
        known_count(&self.dead_letters, &[queue], letters.map(|n| n as u64));
    }

    /// Sets the number of fine-tune jobs in each state.
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

    /// Sets the progress of an open training.
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
