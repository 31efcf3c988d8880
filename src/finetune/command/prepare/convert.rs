//! Converts training rows to the trainer's format, line by line, because files may be larger than memory.

use crate::finetune::Conversation;
use crate::finetune::command::trainers::TrainFormat;
use crate::finetune::row_formats::prompt_completion;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

/// The maximum number of tokens that a chat template adds to a row: a default system prompt, role names and message separators.
const TEMPLATE_TOKENS: u64 = 256;

/// Properties of the rows that need no tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ConvertedRows {
    /// The number of rows.
    pub(super) rows: u64,
    /// An upper bound of the longest row in tokens: a token has at least one byte.
    pub(super) longest_bound: u64,
}

/// Why rows could not be converted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("row {line} of the training file: {why}")]
    Row { line: u64, why: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Writes the rows of `from` to `to` in `format`.
pub(super) fn convert(from: &Path, to: &Path, format: TrainFormat) -> Result<ConvertedRows, ConvertError> {
    let mut source = BufReader::new(File::open(from)?);
    let mut target = BufWriter::new(File::create(to)?);
    let (mut rows, mut line, mut pair) = (ConvertedRows::default(), String::new(), String::new());
    loop {
        line.clear();
        if source.read_line(&mut line)? == 0 {
            break;
        }
        let text = line.trim_end();
        if text.is_empty() {
            continue;
        }
        rows.rows += 1;
        rows.longest_bound = rows.longest_bound.max(text.len() as u64 + TEMPLATE_TOKENS);
        let row = read(text).map_err(|why| ConvertError::Row { line: rows.rows, why })?;
        match format {
            TrainFormat::Messages => {
                target.write_all(text.as_bytes())?;
                target.write_all(b"\n")?;
            }
            TrainFormat::PromptCompletion => {
                pair.clear();
                prompt_completion(&row, &mut pair);
                target.write_all(pair.as_bytes())?;
            }
        }
    }
    let file = target.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(rows)
}

/// Parses a row and checks that it has a message before its answer.
fn read(text: &str) -> Result<Conversation<'_>, String> {
    let row = Conversation::read(text).map_err(|error| error.to_string())?;
    match row.messages.len() {
        1 => Err("it has no message before its answer".to_owned()),
        _ => Ok(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str, format: TrainFormat) -> Result<(ConvertedRows, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, text).unwrap();
        let rows = convert(&from, &to, format).map_err(|error| error.to_string())?;
        Ok((rows, std::fs::read_to_string(&to).unwrap()))
    }

    #[test]
    fn convert_makes_the_last_message_the_completion() {
        let row = r#"{"messages": [{"role": "user", "content": "é\n"}, {"role":"assistant","content":"b"}]}"#;
        let (rows, text) = converted(&format!("{row}\n\n{row}"), TrainFormat::PromptCompletion).unwrap();
        let line = r#"{"prompt":[{"role":"user","content":"é\n"}],"completion":[{"role":"assistant","content":"b"}]}"#;
        assert_eq!(text, format!("{line}\n{line}\n"));
        assert_eq!(rows.rows, 2);
        assert!(rows.longest_bound > row.len() as u64);
    }

    #[test]
    fn convert_keeps_messages_byte_for_byte() {
        let row =
            r#"{ "messages":[{"role":"user","content":"\u00e9"}, {"role":"assistant","content":"b"}] }"#;
        let (_, text) = converted(row, TrainFormat::Messages).unwrap();
        assert_eq!(text, format!("{row}\n"));
    }

    #[test]
    fn convert_reports_the_line_of_an_invalid_row() {
        let good = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        for (row, part) in [
            (
                r#"{"messages":[{"role":"assistant","content":"b"}]}"#,
                "row 2 of the training file: it has no message before",
            ),
            (
                r#"{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"b"}]}"#,
                "the last message of a training row is the assistant's",
            ),
            ("{", "row 2 of the training file: not a row of messages"),
        ] {
            for format in [TrainFormat::PromptCompletion, TrainFormat::Messages] {
                let why = converted(&format!("{good}\n{row}\n"), format).unwrap_err();
                assert!(why.contains(part), "{why}");
            }
        }
    }

    #[test]
    fn convert_streams_50000_rows() {
        let row = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        let count = 50_000;
        let text = format!("{row}\n").repeat(count);
        let (rows, text) = converted(&text, TrainFormat::PromptCompletion).unwrap();
        assert_eq!((rows.rows, text.lines().count()), (count as u64, count));
    }
}
