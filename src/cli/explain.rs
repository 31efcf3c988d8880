//! `explain`: the section of the reference about one key.

use super::exit::Exit;
use super::flags::SchemaSubject;
use super::ui;
use crate::schema::nearest;
use crate::schema::reference::{self, KeyEntry};

/// `explain KEY`.
pub(super) fn explain(key: &str) -> Exit {
    let subjects = [SchemaSubject::Job, SchemaSubject::Trainers];
    let entries: Vec<(SchemaSubject, KeyEntry)> = subjects
        .into_iter()
        .flat_map(|subject| {
            let definition = subject.definition();
            let entries = definition.iter().flat_map(reference::keys);
            entries.map(move |entry| (subject, entry)).collect::<Vec<_>>()
        })
        .collect();
    let wanted: Vec<&str> = key.split('.').filter(|part| !part.is_empty()).collect();
    let Some((subject, entry)) = entries.iter().find(|(_, entry)| is_meant(&entry.path, &wanted)) else {
        let paths = entries
            .iter()
            .filter(|(_, entry)| !entry.key.is_refused())
            .map(|(_, entry)| entry.path.as_str());
        let remedy = match paths.clone().find(|path| path.rsplit('.').next() == Some(key)) {
            Some(path) => format!("did you mean `{path}`?"),
            None => nearest(key, paths),
        };
        ui::problem(format_args!("unknown key `{key}`\n  = help: {remedy}"));
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

/// Whether the path is the wanted one; `*` stands for any name.
fn is_meant(path: &str, wanted: &[&str]) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    let is_same = |(part, wanted): (&&str, &&str)| *part == "*" || part == wanted;
    parts.len() == wanted.len() && parts.iter().zip(wanted).all(is_same)
}
