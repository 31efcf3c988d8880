//! `[data]`: where the examples are and which of their columns are inputs.

use crate::schema::Problems;
use crate::schema::Section;
use crate::trainset::Trainset;
use std::path::Path;

/// What `[data]` gives.
pub(super) struct Data {
    pub(super) inputs: Vec<String>,
    pub(super) trainset: Trainset,
    pub(super) devset: Option<Trainset>,
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Option<Data> {
    let section = root
        .need(
            "data",
            "{ trainset = \"train.jsonl\", inputs = [\"text\"] }",
            problems,
        )?
        .section(problems)?;
    section.only(&["trainset", "devset", "inputs", "limit"], problems);
    let inputs = inputs(&section, problems);
    let limit = section.get("limit").and_then(|item| item.count(1, problems));
    let mut open = |key: &str, limit: Option<u64>, needed: bool| {
        let item = match needed {
            true => section.need(key, "\"train.jsonl\"", problems),
            false => section.get(key),
        }?;
        let path = item
            .place
            .file
            .parent()
            .unwrap_or(Path::new(""))
            .join(item.word(problems)?);
        if !path.is_file() {
            let message = format!("`{}`: there is no file {}", item.name, path.display());
            item.place.report(
                problems,
                message,
                "write the path of a .jsonl, .json or .csv file, relative to this file",
            );
            return None;
        }
        let columns = inputs.as_deref().unwrap_or_default();
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
    };
    let devset = open("devset", None, false);
    let trainset = open("trainset", limit, true)?;
    Some(Data {
        inputs: inputs?,
        trainset,
        devset,
    })
}

fn inputs(section: &Section<'_>, problems: &mut Problems) -> Option<Vec<String>> {
    let item = section.need("inputs", "[\"text\"]", problems)?;
    let mut columns: Vec<String> = Vec::new();
    for column in item.list(problems)? {
        let Some(name) = column.word(problems) else {
            continue;
        };
        if columns.iter().any(|c| c == name) {
            column.place.report(
                problems,
                format!("`data.inputs` names `{name}` twice"),
                "name each column once",
            );
        } else {
            columns.push(name.to_owned());
        }
    }
    if columns.is_empty() {
        item.place.report(
            problems,
            "`data.inputs` names no column",
            "name the columns that the program is given",
        );
    }
    Some(columns)
}
