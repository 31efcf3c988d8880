//! Counts over a run's outcomes and its LM calls, from every process that worked on it.

use crate::lm::Price;
use crate::trace::{FailureKind, Spent};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Counts over the outcomes so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutcomeCounts {
    /// Tasks with a trace.
    pub traces: usize,
    /// Traces that the metric kept: their rows are trained on.
    pub kept: usize,
    /// Failed tasks by kind.
    pub failures: BTreeMap<FailureKind, usize>,
    /// What was paid, by LM in order of first use: also for outcomes that no longer count.
    pub lms: IndexMap<String, LmTotals>,
}

/// The usage of one LM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LmTotals {
    /// LM calls that were answered.
    pub answers: u64,
    /// Tokens of the prompts.
    pub prompt_tokens: u64,
    /// Tokens of the answers.
    pub completion_tokens: u64,
}

impl OutcomeCounts {
    /// Counts a trace.
    pub fn trace(&mut self, kept: bool) {
        self.traces += 1;
        self.kept += usize::from(kept);
    }

    /// Counts a failure.
    pub fn failure(&mut self, kind: FailureKind) {
        *self.failures.entry(kind).or_default() += 1;
    }

    /// Counts answers that were paid.
    pub fn spend(&mut self, spent: &Spent) {
        // `entry` needs an owned name for each call.
        if !self.lms.contains_key(&spent.lm) {
            self.lms.insert(spent.lm.clone(), LmTotals::default());
        }
        let totals = &mut self.lms[&spent.lm];
        totals.answers += spent.answers;
        totals.prompt_tokens += spent.usage.prompt_tokens;
        totals.completion_tokens += spent.usage.completion_tokens;
    }

    /// Failed tasks of every kind.
    pub fn failed(&self) -> usize {
        self.failures.values().sum()
    }

    /// Tasks with an outcome.
    pub fn done(&self) -> usize {
        self.traces + self.failed()
    }

    /// Tokens of prompts and answers of all LMs.
    pub fn tokens(&self) -> u64 {
        self.lms
            .values()
            .map(|lm| lm.prompt_tokens + lm.completion_tokens)
            .sum()
    }

    /// The cost in US dollars. `None` if the price of an LM is unknown.
    pub fn cost(&self, prices: &HashMap<String, Price>) -> Option<f64> {
        self.lms
            .iter()
            .map(|(lm, totals)| Some(totals.cost(*prices.get(lm)?)))
            .sum()
    }
}

impl LmTotals {
    /// The cost in US dollars at this price.
    pub fn cost(&self, price: Price) -> f64 {
        (self.prompt_tokens as f64 * price.input + self.completion_tokens as f64 * price.output) / 1e6
    }
}
