//! `explain`: the section of the reference about one key.

use super::exit::Exit;
use super::flags::SchemaSubject;
use super::ui;
use crate::schema::reference::{self, KeyEntry};
use crate::schema::{near, nearest};

/// `explain KEY`.
pub(super) fn explain(key: &str) -> Exit {
    let subjects = [SchemaSubject::Job, SchemaSubject::Trainers, SchemaSubject::Keys];
    let entries: Vec<(SchemaSubject, KeyEntry)> = subjects
        .into_iter()
        .flat_map(|subject| {
            let definition = subject.definition();
            let entries = definition.iter().flat_map(reference::keys_at_all_places);
            entries.map(move |entry| (subject, entry)).collect::<Vec<_>>()
        })
        .collect();
    let wanted: Vec<&str> = key.split('.').filter(|part| !part.is_empty()).collect();
    let Some((subject, entry)) = entries.iter().find(|(_, entry)| is_meant(&entry.path, &wanted)) else {
        let paths = entries
            .iter()
            .filter(|(_, entry)| !entry.key.is_refused())
            .map(|(_, entry)| entry.path.as_str());
        ui::problem(format_args!(
            "unknown key `{key}`\n  = help: {}",
            remedy(&wanted, paths)
        ));
        return Exit::Usage;
    };
    let prefix = format!("{}.", entry.path);
    let within: Vec<&str> = entries
        .iter()
        .filter(|(other, inner)| {
            other == subject && inner.path.starts_with(&prefix) && !inner.key.is_refused()
        })
        .map(|(_, inner)| inner.path.as_str())
        .collect();
    ui::stdout(plain(entry.section(subject.language()).trim_end()));
    if !within.is_empty() {
        ui::stdout(format_args!("\nKeys in it:\n  {}", within.join("\n  ")));
    }
    Exit::Done
}

/// What to write instead of an unknown key: its path if only its last part is given, or a key of the longest table that it names.
fn remedy<'p>(wanted: &[&str], paths: impl Iterator<Item = &'p str> + Clone) -> String {
    let name_of = |path: &'p str| path.rsplit('.').next().unwrap_or(path);
    if let [name] = wanted {
        let near = near(name, paths.clone().map(name_of));
        if let Some(path) = near.and_then(|near| paths.clone().find(|path| name_of(path) == near)) {
            return format!("did you mean `{path}`?");
        }
    }
    let names_in = |table: &[&str]| -> Vec<&'p str> {
        let within = paths.clone().filter(|path| match path.rsplit_once('.') {
            Some((before, _)) => is_meant(before, table),
            None => table.is_empty(),
        });
        within.map(name_of).collect()
    };
    // The whole is no key, so that a part comes after the table. All files have keys at the top level.
    let tables = (0..wanted.len()).rev().map(|parts| &wanted[..parts]);
    let found = tables
        .map(|table| (table, names_in(table)))
        .find(|(_, names)| !names.is_empty());
    let Some((table, names)) = found else {
        return nearest(&wanted.join("."), paths);
    };
    let path_of = |name: &str| [table, &[name]].concat().join(".");
    match near(wanted[table.len()], names.iter().copied()) {
        Some(near) => {
            let rest = &wanted[table.len() + 1..];
            format!("did you mean `{}`?", [table, &[near], rest].concat().join("."))
        }
        None => {
            let all: Vec<String> = names.into_iter().map(path_of).collect();
            format!("write one of: {}", all.join(", "))
        }
    }
}

/// The Markdown of the reference as a terminal shows it: no heading mark, no code fences, examples indented.
fn plain(markdown: &str) -> String {
    let mut is_code = false;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        if line.starts_with("```") {
            is_code = !is_code;
        } else if is_code {
            lines.push(format!("    {line}"));
        } else if let Some(heading) = line.strip_prefix("### ") {
            lines.push(heading.trim_matches('`').to_owned());
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// Whether the path is the wanted one; `*` in `path` stands for any name.
pub(super) fn is_meant(path: &str, wanted: &[&str]) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    let is_same = |(part, wanted): (&&str, &&str)| *part == "*" || part == wanted;
    parts.len() == wanted.len() && parts.iter().zip(wanted).all(is_same)
}
