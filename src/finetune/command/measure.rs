//! How long rows may be, and how many are longer: what a trainer would cut or drop in silence is said before it starts.

use super::config::Trainer;
use super::convert::ConvertedRows;
use super::environment::{arguments, variables};
use super::subprocess;
use super::values::Values;
use super::workdir::WorkDir;
use serde::Deserialize;
use std::time::Duration;

/// Counts the tokens of rows with the model's own tokenizer and chat template; lies in the training's folder as `{measure_script}`.
pub(super) const SCRIPT: &str = include_str!("measure.py");

/// How long measuring may take: a million rows take minutes, a download of a tokenizer some more.
const LIMIT: Duration = Duration::from_secs(3600);

/// What `measure` prints as its last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Measured {
    /// How many rows it read.
    pub(super) rows: u64,
    /// Tokens of the longest.
    pub(super) longest: u64,
    /// Tokens of each.
    #[serde(default)]
    pub(super) lengths: Vec<u64>,
    /// Tokens that the model takes.
    #[serde(default)]
    pub(super) limit: Option<u64>,
}

/// How long rows may be, in tokens, and what is worth telling of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) max_length: u64,
    pub(super) message: Option<String>,
}

/// Runs the trainer's `measure`. An error says why there is no answer.
pub(super) async fn measure(trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<Measured, String> {
    let argv = arguments(&trainer.measure, values);
    let ended = subprocess::run(&argv, variables(trainer, values), work.root(), LIMIT).await;
    let ended = ended.map_err(|error| format!("measuring the rows: {error}"))?;
    if ended.code != Some(0) {
        let words = super::environment::without_secrets(trainer, ended.last_words().to_owned());
        return Err(format!("measuring the rows: {words}"));
    }
    let mut lines = ended.stdout.lines().rev();
    let answer = lines.find_map(|line| serde_json::from_str(line.trim()).ok());
    answer.ok_or_else(|| "measuring the rows: no line of its output is {\"rows\", \"longest\", …}".to_owned())
}

/// Decides the length: what the job gave, else what the rows need and the model takes. An error: no row would be learned whole.
pub(super) fn decide(
    given: Option<u64>,
    rows: &ConvertedRows,
    measured: Option<&Measured>,
) -> Result<Length, String> {
    let Some(measured) = measured else {
        // A bound is no count: rows are only suspected.
        let is_short = given.filter(|given| *given < rows.longest_bound);
        let message = is_short.map(|given| {
            format!("rows longer than max_length {given} would be cut; whether there are any is not known: the trainer has no `measure`")
        });
        return Ok(Length {
            max_length: given.unwrap_or(rows.longest_bound),
            message,
        });
    };
    if measured.rows != rows.rows {
        return Err(format!(
            "`measure` counted {} rows of {}",
            measured.rows, rows.rows
        ));
    }
    let limit = measured.limit.filter(|limit| *limit > 0);
    let max_length = given
        .unwrap_or(measured.longest)
        .min(limit.unwrap_or(u64::MAX))
        .max(1);
    let cut = match measured.lengths.is_empty() {
        true => u64::from(measured.longest > max_length),
        false => measured
            .lengths
            .iter()
            .filter(|length| **length > max_length)
            .count() as u64,
    };
    let why = match limit {
        Some(limit) if limit == max_length => format!("{max_length} tokens, all that the model takes"),
        _ => format!("max_length {max_length} (the longest has {})", measured.longest),
    };
    match cut {
        0 => Ok(Length {
            max_length,
            message: None,
        }),
        cut if cut >= rows.rows => Err(format!(
            "all {cut} rows are longer than {why}: their answers would be cut off"
        )),
        cut => Ok(Length {
            max_length,
            message: Some(format!(
                "{cut} of {} rows are longer than {why}: they are cut or dropped",
                rows.rows
            )),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: ConvertedRows = ConvertedRows {
        rows: 4,
        longest_bound: 900,
    };

    fn measured(limit: Option<u64>) -> Measured {
        Measured {
            rows: 4,
            longest: 40,
            lengths: vec![10, 20, 30, 40],
            limit,
        }
    }

    #[test]
    fn rows_that_are_too_long_are_counted() {
        for (given, limit, max_length, cut) in [
            (None, None, 40, None),
            (None, Some(100), 40, None),
            (
                None,
                Some(25),
                25,
                Some("2 of 4 rows are longer than 25 tokens, all that the model takes"),
            ),
            (
                Some(30),
                None,
                30,
                Some("1 of 4 rows are longer than max_length 30 (the longest has 40)"),
            ),
            (Some(64), Some(30), 30, Some("1 of 4 rows")),
        ] {
            let length = decide(given, &ROWS, Some(&measured(limit))).unwrap();
            assert_eq!(length.max_length, max_length);
            match (cut, length.message) {
                (None, message) => assert_eq!(message, None),
                (Some(cut), message) => {
                    assert!(message.as_deref().is_some_and(|m| m.contains(cut)), "{message:?}")
                }
            }
        }
    }

    #[test]
    fn a_training_on_nothing_but_cut_rows_is_refused() {
        assert!(
            decide(Some(5), &ROWS, Some(&measured(None)))
                .unwrap_err()
                .contains("all 4 rows")
        );
        let other = Measured {
            rows: 3,
            ..measured(None)
        };
        assert!(
            decide(None, &ROWS, Some(&other))
                .unwrap_err()
                .contains("3 rows of 4")
        );
    }

    #[test]
    fn without_a_tokenizer_no_row_is_cut_unless_the_job_says_so() {
        assert_eq!(
            decide(None, &ROWS, None).unwrap(),
            Length {
                max_length: 900,
                message: None
            }
        );
        assert!(decide(Some(64), &ROWS, None).unwrap().message.is_some());
    }
}
