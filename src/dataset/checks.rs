//! What a file of training rows is like, found while it is written: what a user wants to know before paying for a training.

use crate::finetune::{Conversation, ProviderSpec};
use serde::{Deserialize, Serialize};
use std::hash::{DefaultHasher, Hasher as _};

/// Tokens are not counted but estimated, since every model counts differently: a token for so many bytes of what is said, as in
/// English prose.
pub const BYTES_PER_TOKEN: u64 = 4;

/// What a chat template may add to a message, at most, in tokens: its role and where it begins and ends.
const TEMPLATE_TOKENS: u64 = 16;

/// From which part of a file's rows on repeated ones are worth a warning.
const MANY_DUPLICATES: f64 = 0.1;

/// OpenAI's limit of an uploaded file, in bytes.
const OPENAI_BYTES: u64 = 512_000_000;

/// What is known of a file of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// Lines.
    pub rows: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Tokens of what is said in all rows: an estimate, a quarter of its bytes.
    pub estimated_tokens: u64,
    /// Tokens of what is said in the longest row, estimated likewise.
    pub longest_tokens: u64,
    /// The line of that row, from 1; 0: there is none.
    pub longest_line: u64,
    /// Rows that an earlier line has, too.
    pub duplicates: u64,
    /// Rows whose answer is empty.
    pub empty_answers: u64,
    /// Rows that were kept back although a row that is trained on is the same: their examples differ in what the predictor does not read.
    pub in_both: u64,
}

impl Checks {
    /// What of it deserves a warning, where this provider trains.
    pub fn warnings(&self, provider: &ProviderSpec) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.duplicates as f64 > self.rows as f64 * MANY_DUPLICATES {
            warnings.push(format!(
                "{} of {} training rows repeat another one: what they say weighs more",
                self.duplicates, self.rows
            ));
        }
        if self.empty_answers > 0 {
            warnings.push(format!(
                "{} of {} training rows have an empty answer: the model learns to say nothing",
                self.empty_answers, self.rows
            ));
        }
        if self.in_both > 0 {
            warnings.push(format!(
                "{} rows that are kept back are trained on, too: their examples differ only in columns that no prompt shows",
                self.in_both
            ));
        }
        if matches!(provider, ProviderSpec::Openai(_)) && self.bytes > OPENAI_BYTES {
            warnings.push(format!(
                "the training file has {} bytes, and OpenAI takes no more than {OPENAI_BYTES}: `data.limit` or a stronger \
                 metric make it smaller",
                self.bytes
            ));
        }
        warnings
    }
}

/// Looks at rows as they are written. Takes 8 bytes of memory a row.
#[derive(Debug, Default)]
pub(super) struct Checker {
    checks: Checks,
    said: u64,
    longest: u64,
    room: u64,
    digests: Vec<u64>,
}

impl Checker {
    /// Takes in the next line, and what it says.
    pub(super) fn see(&mut self, line: &[u8], row: &Conversation<'_>) {
        let said: u64 = row
            .messages
            .iter()
            .map(|message| message.content.len() as u64)
            .sum();
        self.checks.rows += 1;
        self.checks.bytes += line.len() as u64;
        self.said += said;
        if said > self.longest || self.checks.rows == 1 {
            self.longest = said;
            self.checks.longest_line = self.checks.rows;
        }
        self.room = self
            .room
            .max(said + TEMPLATE_TOKENS * (row.messages.len() as u64 + 1));
        self.checks.empty_answers += u64::from(row.answer().is_empty());
        let mut hasher = DefaultHasher::new();
        hasher.write(line);
        self.digests.push(hasher.finish());
    }

    /// How many lines it has seen.
    pub(super) fn rows(&self) -> u64 {
        self.checks.rows
    }

    /// How many tokens the longest row can come to: no tokenizer in use makes more tokens than there are bytes.
    pub(super) fn room(&self) -> u64 {
        self.room
    }

    /// What it came to, beside the rows that were kept back.
    pub(super) fn conclude(mut self, kept_back: &Checker) -> Checks {
        self.digests.sort_unstable();
        self.digests.dedup();
        let distinct = &self.digests;
        let is_in_both = |digest: &&u64| distinct.binary_search(digest).is_ok();
        Checks {
            estimated_tokens: self.said / BYTES_PER_TOKEN,
            longest_tokens: self.longest / BYTES_PER_TOKEN,
            duplicates: self.checks.rows - distinct.len() as u64,
            in_both: kept_back.digests.iter().filter(is_in_both).count() as u64,
            ..self.checks
        }
    }
}
