//! Counts over a run's outcomes and its LM calls, from every process that worked on it.

use super::figures::count;
use crate::lm::{Price, is_cut};
use crate::trace::{FailureKind, Spent, UnsettledCall};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// The most reasons of cut answers that are counted apart for an LM. Servers have a handful.
const MAX_REASONS: usize = 16;

/// The name of the further ones.
const OTHER_REASON: &str = "other";

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
    /// Answers by LM and endpoint, of LMs with several endpoints, as far as it is known which one gave them.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub endpoints: IndexMap<String, IndexMap<String, u64>>,
    /// Answers in traces that the server cut or withheld, by LM and `finish_reason`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub cut_answers: IndexMap<String, BTreeMap<String, u64>>,
    /// Calls that may have been paid: what came of them died with a process. By LM.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub unsettled: IndexMap<String, UnsettledTotals>,
}

/// Calls of one LM that may have been paid, and the most that they cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsettledTotals {
    pub calls: u64,
    /// The most tokens of their prompts: a token is at least a byte.
    pub prompt_tokens: u64,
    /// The most tokens of their answers, apart from calls without `max_tokens`.
    pub completion_tokens: u64,
    /// Calls without `max_tokens`.
    pub unbounded: u64,
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
    /// Answers whose tokens the server did not report, or not all of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_usage: u64,
}

impl OutcomeCounts {
    /// Counts a trace.
    pub fn trace(&mut self, kept: bool) {
        self.traces += 1;
        self.kept += usize::from(kept);
    }

    /// Counts a call of a trace whose answer ended for this reason, if that cut it.
    pub fn end(&mut self, lm: &str, finish_reason: &str) {
        if !is_cut(finish_reason) {
            return;
        }
        let reasons = self.cut_answers.entry(lm.to_owned()).or_default();
        let is_known = reasons.len() < MAX_REASONS || reasons.contains_key(finish_reason);
        let reason = if is_known { finish_reason } else { OTHER_REASON };
        *reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// How many answers of the LM were cut, and why: `3 answers were cut (finish_reason content_filter: 1, length: 2)`. `None` if none was.
    pub fn cut(&self, lm: &str) -> Option<String> {
        let reasons = self.cut_answers.get(lm)?;
        let answers: u64 = reasons.values().sum();
        let reasons = reasons.iter();
        let reasons = reasons.map(|(reason, answers)| format!("{reason}: {}", count(*answers)));
        let reasons = reasons.collect::<Vec<_>>().join(", ");
        let were = if answers == 1 {
            "answer was"
        } else {
            "answers were"
        };
        Some(format!("{} {were} cut (finish_reason {reasons})", count(answers)))
    }

    /// Answers in traces that were cut.
    pub fn cut_answers(&self) -> u64 {
        self.cut_answers.values().flat_map(BTreeMap::values).sum()
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
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut totals.answers, spent.answers);
        add(&mut totals.prompt_tokens, spent.usage.prompt_tokens);
        add(&mut totals.completion_tokens, spent.usage.completion_tokens);
        add(&mut totals.unknown_usage, spent.usage.unknown);
    }

    /// Counts answers of an LM by its endpoints.
    pub fn serve(&mut self, lm: &str, answers: &IndexMap<String, u64>) {
        if answers.is_empty() {
            return;
        }
        let endpoints = self.endpoints.entry(lm.to_owned()).or_default();
        for (endpoint, answers) in answers {
            *endpoints.entry(endpoint.clone()).or_default() += answers;
        }
    }

    /// Counts a call that may have been paid.
    pub fn unsettle(&mut self, call: &UnsettledCall) {
        let totals = self.unsettled.entry(call.lm.clone()).or_default();
        totals.calls += 1;
        totals.prompt_tokens = totals.prompt_tokens.saturating_add(call.bound.prompt_tokens);
        let completion_tokens = call.bound.completion_tokens.unwrap_or(0);
        totals.completion_tokens = totals.completion_tokens.saturating_add(completion_tokens);
        totals.unbounded += u64::from(call.bound.completion_tokens.is_none());
    }

    /// How many answers each endpoint of the LM gave: `400 from http://a/v1, 200 from http://b/v1`. `None` if it has only one.
    pub fn by_endpoint(&self, lm: &str) -> Option<String> {
        let endpoints = self.endpoints.get(lm)?.iter();
        let texts = endpoints.map(|(endpoint, answers)| format!("{} from {endpoint}", count(*answers)));
        Some(texts.collect::<Vec<_>>().join(", "))
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
        let tokens = self.lms.values().map(LmTotals::tokens);
        tokens.fold(0, u64::saturating_add)
    }

    /// The cost in US dollars. `None` if the price of an LM is unknown, or the tokens of an answer.
    pub fn cost(&self, prices: &HashMap<String, Price>) -> Option<f64> {
        self.lms
            .iter()
            .map(|(lm, totals)| totals.cost(*prices.get(lm)?))
            .sum()
    }
}

impl LmTotals {
    /// Tokens of prompts and answers.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// The cost in US dollars at this price. `None` if an answer that is not free has unknown usage.
    pub fn cost(&self, price: Price) -> Option<f64> {
        let is_free = price.input == 0.0 && price.output == 0.0;
        let cost =
            (self.prompt_tokens as f64 * price.input + self.completion_tokens as f64 * price.output) / 1e6;
        (self.unknown_usage == 0 || is_free).then_some(cost)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl UnsettledTotals {
    /// The most tokens of prompts and answers.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl fmt::Display for UnsettledTotals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, tokens) = (count(self.calls), self.tokens());
        let plural = if self.calls == 1 { "" } else { "s" };
        write!(
            f,
            "{calls} call{plural} unsettled, at most {} tokens",
            count(tokens)
        )?;
        match self.unbounded {
            0 => Ok(()),
            unbounded => write!(f, " and the answers of {} without max_tokens", count(unbounded)),
        }
    }
}
