//! What files of training rows are called: `KEY.jsonl`, `KEY.validation.jsonl`, `KEY.sharegpt.jsonl`, `KEY.validation.sharegpt.jsonl`.

use super::RowFormat;

/// Which of a key's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataPart {
    /// Those that are trained on.
    Training,
    /// Those that are kept back to measure with.
    Validation,
}

/// What the files of an LM, or of one of its predictors, are named after.
pub fn key_name(lm: &str, predictor: Option<&str>) -> String {
    match predictor {
        None => lm.to_owned(),
        Some(predictor) => format!("{lm}@{predictor}"),
    }
}

/// A file of the key's rows, in DIR's `data`; without a format: the one with `messages`.
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
