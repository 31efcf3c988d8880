//! Statistics and warnings of a training file, computed while it is written, so that a user can check it before paying for a training.

use super::empty_answer::is_empty_answer;
use crate::adapter::AdapterKind;
use crate::finetune::{Conversation, ProviderSpec, TrainingSpec};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hasher as _};

/// Token counts are estimates, because every model counts differently: one token per this many bytes of content, as in English text.
pub const BYTES_PER_TOKEN: u64 = 4;

/// The maximum number of tokens that a chat template adds to a message, for its role and separators.
const TEMPLATE_TOKENS: u64 = 16;

/// The fraction of duplicate rows above which a warning is printed.
const MANY_DUPLICATES: f64 = 0.1;

/// OpenAI's limit of an uploaded file, in bytes.
const OPENAI_BYTES: u64 = 512_000_000;

/// What the rows of a training are held against.
#[derive(Clone, Copy, Debug)]
pub struct RowRules {
    /// The adapter that wrote the answers.
    pub adapter: AdapterKind,
    /// The length in tokens beyond which the trainer cuts a row or leaves it out. `None` if the job sets none.
    pub length_limit: Option<u64>,
    /// Whether the model's chat template is known to refuse a system message.
    pub refuses_system: bool,
}

/// The statistics of a training file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// The number of rows.
    pub rows: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The estimated token count of all rows: content bytes / 4.
    pub estimated_tokens: u64,
    /// The estimated token count of the longest row.
    pub longest_tokens: u64,
    /// The line of the longest row, counted from 1. 0 if there are no rows.
    pub longest_line: u64,
    /// The number of rows that repeat an earlier one.
    pub duplicates: u64,
    /// The number of rows whose answer is empty, or has only empty fields.
    pub empty_answers: u64,
    /// The job's own limit of a row's length in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length_limit: Option<u64>,
    /// The number of rows that are longer, by the estimate of their tokens.
    pub too_long: u64,
    /// The number of rows with a system message, if the model's chat template is known to refuse one.
    pub refused_system: u64,
    /// The number of validation rows that equal a training row: their examples differ only in fields that the predictor does not read.
    pub in_both: u64,
}

impl Checks {
    /// The warnings for this training.
    pub fn warnings(&self, training: &TrainingSpec) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.duplicates as f64 > self.rows as f64 * MANY_DUPLICATES {
            warnings.push(format!(
                "{} of {} training rows are duplicates: they have more weight in the training",
                self.duplicates, self.rows
            ));
        }
        if self.empty_answers > 0 {
            warnings.push(format!(
                "{} of {} training rows have an empty answer: the model learns to answer nothing",
                self.empty_answers, self.rows
            ));
        }
        if let Some(limit) = self.length_limit
            && self.too_long > 0
        {
            warnings.push(format!(
                "{} of {} training rows have more than the {limit} tokens that `train` allows, by their number of bytes (the longest \
                 about {}): trainers cut them or leave them out",
                self.too_long, self.rows, self.longest_tokens
            ));
        }
        if self.refused_system > 0 {
            warnings.push(format!(
                "{} of {} training rows begin with a system message, which the chat template of {} is known to refuse: give the \
                 trainer another template",
                self.refused_system,
                self.rows,
                training.base_model()
            ));
        }
        if self.in_both > 0 {
            warnings.push(format!(
                "{} rows that are kept back are trained on, too: their examples differ only in columns that no prompt shows",
                self.in_both
            ));
        }
        if matches!(training.provider, ProviderSpec::Openai(_)) && self.bytes > OPENAI_BYTES {
            warnings.push(format!(
                "the training file has {} bytes, and OpenAI takes no more than {OPENAI_BYTES}: `data.limit` or a stronger \
                 metric make it smaller",
                self.bytes
            ));
        }
        warnings
    }
}

/// Collects the statistics row by row. Uses 8 bytes of memory per row.
#[derive(Debug)]
pub(super) struct Checker {
    rules: RowRules,
    checks: Checks,
    content_bytes: u64,
    longest: u64,
    room: u64,
    digests: Vec<u64>,
}

impl Checker {
    pub(super) fn new(rules: RowRules) -> Checker {
        Checker {
            rules,
            checks: Checks {
                length_limit: rules.length_limit,
                ..Checks::default()
            },
            content_bytes: 0,
            longest: 0,
            room: 0,
            digests: Vec::new(),
        }
    }

    /// Adds the next line and its parsed row.
    pub(super) fn see(&mut self, line: &[u8], row: &Conversation<'_>) {
        let content_bytes: u64 = row
            .messages
            .iter()
            .map(|message| message.content.len() as u64)
            .sum();
        self.checks.rows += 1;
        self.checks.bytes += line.len() as u64;
        self.content_bytes += content_bytes;
        if content_bytes > self.longest || self.checks.rows == 1 {
            self.longest = content_bytes;
            self.checks.longest_line = self.checks.rows;
        }
        self.room = self
            .room
            .max(content_bytes + TEMPLATE_TOKENS * (row.messages.len() as u64 + 1));
        let RowRules {
            adapter,
            length_limit,
            refuses_system,
        } = self.rules;
        let is_too_long = length_limit.is_some_and(|limit| content_bytes / BYTES_PER_TOKEN > limit);
        self.checks.too_long += u64::from(is_too_long);
        self.checks.empty_answers += u64::from(is_empty_answer(adapter, row.answer()));
        self.checks.refused_system += u64::from(refuses_system && row.system().is_some());
        let mut hasher = DefaultHasher::new();
        hasher.write(line);
        self.digests.push(hasher.finish());
    }

    /// The number of rows added so far.
    pub(super) fn rows(&self) -> u64 {
        self.checks.rows
    }

    /// An upper bound of the longest row in tokens: no tokenizer produces more tokens than bytes.
    pub(super) fn room(&self) -> u64 {
        self.room
    }

    /// The statistics, compared with the validation rows.
    pub(super) fn conclude(mut self, kept_back: &Checker) -> Checks {
        self.digests.sort_unstable();
        self.digests.dedup();
        let distinct = &self.digests;
        let is_in_both = |digest: &&u64| distinct.binary_search(digest).is_ok();
        Checks {
            estimated_tokens: self.content_bytes / BYTES_PER_TOKEN,
            longest_tokens: self.longest / BYTES_PER_TOKEN,
            duplicates: self.checks.rows - distinct.len() as u64,
            in_both: kept_back.digests.iter().filter(is_in_both).count() as u64,
            ..self.checks
        }
    }
}
