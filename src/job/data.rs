//! `[data]`: where the examples are and which of their columns are inputs.

use super::keys::DataTable;
use crate::schema::Problems;
use crate::schema::form::Read;
use crate::trainset::{LongFields, Trainset};
use std::path::Path;

/// The opened data of a job.
pub(super) struct Data {
    pub(super) inputs: Vec<String>,
    pub(super) trainset: Trainset,
    pub(super) devset: Option<Trainset>,
}

impl Data {
    /// Opens the files that the table names and checks their rows.
    pub(super) fn open(table: DataTable<'_>, problems: &mut Problems) -> Option<Data> {
        let inputs = table.inputs.and_then(|columns| inputs(&columns, problems));
        let columns = inputs.as_deref().unwrap_or_default();
        let devset = table.devset.and_then(|path| open(&path, None, columns, problems));
        let limit = table.limit.map(|limit| limit.value);
        let trainset = table
            .trainset
            .and_then(|path| open(&path, limit, columns, problems))?;
        Some(Data {
            inputs: inputs?,
            trainset,
            devset,
        })
    }

    /// Warnings of rows that are allowed but probably not meant.
    pub(super) fn warnings(&self) -> Vec<String> {
        let path = self.trainset.path().display();
        let lacking = self.trainset.without_input().map(|(column, line, rows)| {
            format!(
                "{path}:{line}: {rows} rows lack the input column `{column}` (this is the first); they run without it"
            )
        });
        let sets = std::iter::once(&self.trainset).chain(&self.devset);
        lacking.chain(sets.filter_map(swallowed_rows)).collect()
    }
}

/// The warning of fields that may hold whole rows.
fn swallowed_rows(set: &Trainset) -> Option<String> {
    let LongFields { line, lines, count } = set.long_fields()?;
    let more = match count {
        1 => String::new(),
        n => format!(" ({n} fields are that long; this is the first)"),
    };
    let path = set.path().display();
    Some(format!(
        "{path}:{line}: a field of {lines} lines begins here{more}: a `\"` too many or too few makes one field of several rows"
    ))
}

fn open(
    file: &Read<'_, &str>,
    limit: Option<u64>,
    columns: &[String],
    problems: &mut Problems,
) -> Option<Trainset> {
    let folder = file.place().file.parent().unwrap_or(Path::new(""));
    let path = folder.join(file.value);
    if path.is_dir() {
        let message = format!("`{}`: {} is a folder", file.name(), path.display());
        file.report(
            problems,
            message,
            "name a .jsonl, .json or .csv file in it; `load_from_disk(…).to_json(…)` makes one of a Hugging Face dataset",
        );
        return None;
    }
    if !path.is_file() {
        let message = format!("`{}`: there is no file {}", file.name(), path.display());
        file.report(
            problems,
            message,
            "write the path of a .jsonl, .json or .csv file, relative to this file",
        );
        return None;
    }
    match Trainset::open(&path, limit, columns) {
        Ok(set) if set.is_empty() => {
            problems.add(&path, None, "it has no rows", "put at least one example into it");
            None
        }
        Ok(set) => Some(set),
        Err(more) => {
            problems.0.extend(more.0);
            None
        }
    }
}

fn inputs(list: &Read<'_, Vec<Read<'_, &str>>>, problems: &mut Problems) -> Option<Vec<String>> {
    let mut columns: Vec<String> = Vec::new();
    for column in &list.value {
        let name = column.value;
        if columns.iter().any(|known| known == name) {
            column.report(
                problems,
                format!("`data.inputs` names `{name}` twice"),
                "name each column once",
            );
        } else {
            columns.push(name.to_owned());
        }
    }
    if columns.is_empty() {
        list.report(
            problems,
            "`data.inputs` names no column",
            "name the columns that the program is given",
        );
    }
    Some(columns)
}
