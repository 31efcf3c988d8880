//! Training rows as the trainer wants them, line by line: files may be larger than memory.

use super::config::TrainFormat;
use indexmap::IndexMap;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

/// What a chat template adds to a row at most, in tokens: a system prompt of its own, names of roles, marks around messages.
const TEMPLATE_TOKENS: u64 = 256;

/// What is known of the rows without a tokenizer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rows {
    /// How many there are.
    pub(super) rows: u64,
    /// Tokens that no row has more of: a token is at least a byte.
    pub(super) longest_bound: u64,
}

/// Why rows could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("row {line} of the training file {why}")]
    Row { line: u64, why: String },
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Deserialize)]
struct Role {
    role: String,
}

/// Writes the rows of `from` to `to`.
pub(super) fn convert(from: &Path, to: &Path, format: TrainFormat) -> Result<Rows, ConvertError> {
    let mut source = BufReader::new(File::open(from)?);
    let mut target = BufWriter::new(File::create(to)?);
    let (mut rows, mut line) = (Rows::default(), String::new());
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
        let row = rows.rows;
        let wrong = |why: String| ConvertError::Row { line: row, why };
        match format {
            TrainFormat::Messages => {
                serde_json::from_str::<IgnoredAny>(text)
                    .map_err(|error| wrong(format!("is not JSON: {error}")))?;
                target.write_all(text.as_bytes())?;
            }
            TrainFormat::PromptCompletion => write_pair(text, &mut target).map_err(|why| match why {
                Unfit::Row(why) => wrong(why),
                Unfit::Io(error) => error.into(),
            })?,
        }
        target.write_all(b"\n")?;
    }
    let file = target.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(rows)
}

enum Unfit {
    Row(String),
    Io(io::Error),
}

/// The last message is what is learned; all before it is what it answers. What else a row has, such as `tools`, stays as it is.
fn write_pair(text: &str, target: &mut impl io::Write) -> Result<(), Unfit> {
    let no_messages = |error: serde_json::Error| Unfit::Row(format!("has no messages: {error}"));
    let mut row: IndexMap<String, &RawValue> = serde_json::from_str(text).map_err(no_messages)?;
    let messages = row.shift_remove("messages").map_or("[]", RawValue::get);
    let messages: Vec<&RawValue> = serde_json::from_str(messages).map_err(no_messages)?;
    let Some((last, prompt)) = messages.split_last().filter(|(_, prompt)| !prompt.is_empty()) else {
        return Err(Unfit::Row("has no message before its answer".to_owned()));
    };
    let role = serde_json::from_str::<Role>(last.get()).map(|message| message.role);
    if role.as_deref().ok() != Some("assistant") {
        return Err(Unfit::Row(
            "does not end with a message of the assistant".to_owned(),
        ));
    }
    let (prompt, completion) = (raw(prompt)?, raw(&[*last])?);
    let mut pair: IndexMap<&str, &RawValue> = IndexMap::new();
    pair.extend([("prompt", &*prompt), ("completion", &*completion)]);
    for (key, value) in &row {
        pair.entry(key).or_insert(value);
    }
    serde_json::to_writer(target, &pair).map_err(|error| Unfit::Io(error.into()))
}

fn raw(messages: &[&RawValue]) -> Result<Box<RawValue>, Unfit> {
    serde_json::value::to_raw_value(messages).map_err(|error| Unfit::Io(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(text: &str, format: TrainFormat) -> Result<(Rows, String), String> {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, text).unwrap();
        let rows = convert(&from, &to, format).map_err(|error| error.to_string())?;
        Ok((rows, std::fs::read_to_string(&to).unwrap()))
    }

    #[test]
    fn the_last_message_becomes_the_completion() {
        let row = r#"{"messages": [{"role": "user", "content": "é\n"}, {"role":"assistant","content":"b"}], "tools": [1]}"#;
        let (rows, text) = converted(&format!("{row}\n\n{row}"), TrainFormat::PromptCompletion).unwrap();
        let line = r#"{"prompt":[{"role": "user", "content": "é\n"}],"completion":[{"role":"assistant","content":"b"}],"tools":[1]}"#;
        assert_eq!(text, format!("{line}\n{line}\n"));
        assert_eq!(rows.rows, 2);
        assert!(rows.longest_bound > row.len() as u64);
    }

    #[test]
    fn messages_stay_byte_for_byte() {
        let row = r#"{ "messages":[{"role":"user","content":"\u00e9"}] }"#;
        let (_, text) = converted(row, TrainFormat::Messages).unwrap();
        assert_eq!(text, format!("{row}\n"));
    }

    #[test]
    fn a_row_that_teaches_nothing_is_named() {
        let good = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        for (row, part) in [
            (
                r#"{"messages":[{"role":"assistant","content":"b"}]}"#,
                "row 2 of the training file has no message before",
            ),
            (
                r#"{"messages":[{"role":"assistant"},{"role":"user","content":"b"}]}"#,
                "does not end with a message of the assistant",
            ),
            ("{", "has no messages"),
        ] {
            let why = converted(&format!("{good}\n{row}\n"), TrainFormat::PromptCompletion).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        assert!(converted("nonsense", TrainFormat::Messages).is_err());
    }

    #[test]
    fn many_rows_pass_through_one_line_at_a_time() {
        let row = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
        let count = 50_000;
        let text = format!("{row}\n").repeat(count);
        let (rows, text) = converted(&text, TrainFormat::PromptCompletion).unwrap();
        assert_eq!((rows.rows, text.lines().count()), (count as u64, count));
    }
}
