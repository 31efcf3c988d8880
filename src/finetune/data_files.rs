//! The names of files with training rows: `KEY.jsonl`, `KEY.validation.jsonl`, `KEY.sharegpt.jsonl`, `KEY.validation.sharegpt.jsonl`.

use super::RowFormat;

/// The training part or the validation part of a key's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPart {
    /// The training rows.
    Training,
    /// The validation rows.
    Validation,
}

/// The name of an LM key: the LM, and the predictor if the key has one.
pub fn key_name(lm: &str, predictor: Option<&str>) -> String {
    match predictor {
        None => lm.to_owned(),
        Some(predictor) => format!("{lm}@{predictor}"),
    }
}

/// The name of a key's file in DIR's `data`. Without a format, the file in DSPy's own format `messages`.
pub fn file_name(key: &str, part: DataPart, format: Option<RowFormat>) -> String {
    let part = match part {
        DataPart::Training => "",
        DataPart::Validation => ".validation",
    };
    match format {
        None => format!("{key}{part}.jsonl"),
        Some(format) => format!("{key}{part}.{}.jsonl", format.name()),
    }
}
