//! What answers cost, in tokens.

use crate::lm::Usage;

/// Answers of one LM.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// The LM's name in the job file.
    pub lm: String,
    /// Their number.
    pub answers: u64,
    /// The tokens of all of them.
    pub usage: Usage,
}

impl Spent {
    /// Adds answers of an LM to a list that has one entry per LM, in order of first use.
    pub fn add(all: &mut Vec<Spent>, lm: &str, answers: u64, usage: Usage) {
        match all.iter_mut().find(|spent| spent.lm == lm) {
            Some(spent) => {
                spent.answers = spent.answers.saturating_add(answers);
                spent.usage += usage;
            }
            None => all.push(Spent {
                lm: lm.to_owned(),
                answers,
                usage,
            }),
        }
    }
}
