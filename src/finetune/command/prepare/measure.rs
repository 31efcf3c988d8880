//! Measures the rows in tokens and determines `max_length`. Rows that the trainer would truncate are reported before it starts.

use super::convert::ConvertedRows;
use crate::finetune::command::process::environment::{arguments, variables, without_secrets};
use crate::finetune::command::process::short_command;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::WorkDir;
use serde::Deserialize;
use std::time::Duration;

/// The script `{measure_script}`, which counts tokens with the model's own tokenizer and chat template.
pub(super) const SCRIPT: &str = include_str!("measure.py");

/// How long `measure` may take. A million rows take minutes, plus the download of a tokenizer.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The last line that `measure` prints, as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Measured {
    /// The number of rows that it read.
    pub(super) rows: u64,
    /// The length of the longest row in tokens.
    pub(super) longest: u64,
    /// The length of every row in tokens.
    #[serde(default)]
    pub(super) lengths: Vec<u64>,
    /// The model's context length in tokens.
    #[serde(default)]
    pub(super) limit: Option<u64>,
}

/// The maximum length of a row in tokens, and a warning if some rows exceed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) max_length: u64,
    pub(super) message: Option<String>,
}

/// Runs the trainer's `measure`. The error is the reason why it has no result.
pub(super) async fn measure(trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<Measured, String> {
    let argv = arguments(&trainer.measure, values);
    let ended = short_command::run(&argv, variables(trainer, values), work.root(), TIMEOUT).await;
    let ended = ended.map_err(|error| format!("measuring the rows: {error}"))?;
    if ended.code != Some(0) {
        let message = without_secrets(trainer, ended.message().to_owned());
        return Err(format!("measuring the rows: {message}"));
    }
    let mut lines = ended.stdout.lines().rev();
    let answer = lines.find_map(|line| serde_json::from_str(line.trim()).ok());
    answer.ok_or_else(|| "measuring the rows: no line of its output is {\"rows\", \"longest\", …}".to_owned())
}

/// Determines `max_length`: the job's value, or the longest row up to the model's context. Fails when every row would be truncated.
pub(super) fn max_length(
    given: Option<u64>,
    rows: &ConvertedRows,
    measured: Option<&Measured>,
) -> Result<Length, String> {
    let Some(measured) = measured else {
        // Without `measure` there is only an upper bound, so the warning is conditional.
        let is_short = given.filter(|given| *given < rows.longest_bound);
        let message = is_short.map(|given| {
            format!("rows longer than max_length {given} would be truncated; the trainer has no `measure`, so their number is unknown")
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
    let cut = if measured.lengths.is_empty() {
        u64::from(measured.longest > max_length)
    } else {
        let too_long = measured.lengths.iter().filter(|length| **length > max_length);
        too_long.count() as u64
    };
    let why = match limit {
        Some(limit) if limit == max_length => format!("{max_length} tokens, the model's context length"),
        _ => format!("max_length {max_length} (the longest has {})", measured.longest),
    };
    match cut {
        0 => Ok(Length {
            max_length,
            message: None,
        }),
        cut if cut >= rows.rows => Err(format!(
            "all {cut} rows are longer than {why}: their answers would be truncated"
        )),
        cut => Ok(Length {
            max_length,
            message: Some(format!(
                "{cut} of {} rows are longer than {why}: they are truncated or dropped",
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
    fn max_length_counts_rows_that_are_too_long() {
        for (given, limit, expected, cut) in [
            (None, None, 40, None),
            (None, Some(100), 40, None),
            (
                None,
                Some(25),
                25,
                Some("2 of 4 rows are longer than 25 tokens, the model's context length"),
            ),
            (
                Some(30),
                None,
                30,
                Some("1 of 4 rows are longer than max_length 30 (the longest has 40)"),
            ),
            (Some(64), Some(30), 30, Some("1 of 4 rows")),
        ] {
            let length = max_length(given, &ROWS, Some(&measured(limit))).unwrap();
            assert_eq!(length.max_length, expected);
            match (cut, length.message) {
                (None, message) => assert_eq!(message, None),
                (Some(cut), message) => {
                    assert!(message.as_deref().is_some_and(|m| m.contains(cut)), "{message:?}")
                }
            }
        }
    }

    #[test]
    fn max_length_rejects_a_training_with_only_truncated_rows() {
        assert!(
            max_length(Some(5), &ROWS, Some(&measured(None)))
                .unwrap_err()
                .contains("all 4 rows")
        );
        let other = Measured {
            rows: 3,
            ..measured(None)
        };
        assert!(
            max_length(None, &ROWS, Some(&other))
                .unwrap_err()
                .contains("3 rows of 4")
        );
    }

    #[test]
    fn max_length_without_measure_is_the_upper_bound() {
        assert_eq!(
            max_length(None, &ROWS, None).unwrap(),
            Length {
                max_length: 900,
                message: None
            }
        );
        assert!(max_length(Some(64), &ROWS, None).unwrap().message.is_some());
    }
}
