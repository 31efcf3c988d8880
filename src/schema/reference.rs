//! The reference of a file as Markdown, from the definitions that also read the file.

use super::definition::{Key, Kind, TableDefinition};
use super::time_span;
use std::fmt::Write as _;

/// A key and its path, such as `lm.*.finetune.train`.
#[derive(Clone, Debug)]
pub(crate) struct KeyEntry {
    /// The dotted path, with `*` for a name that the user chooses.
    pub(crate) path: String,
    /// The header of its table in an example file, such as `[lm.student.finetune]`. Empty at the top level.
    header: String,
    pub(crate) key: Key,
    /// The provider that an example of the key must name.
    provider: Option<&'static str>,
}

/// All keys of a file. A table that occurs twice is listed once, at its first place.
pub(crate) fn keys(root: &TableDefinition) -> Vec<KeyEntry> {
    walk(root, false)
}

/// All keys of a file, at each place where the file may contain them.
pub(crate) fn keys_at_all_places(root: &TableDefinition) -> Vec<KeyEntry> {
    walk(root, true)
}

fn walk(root: &TableDefinition, repeats: bool) -> Vec<KeyEntry> {
    let mut walk = Walk {
        repeats,
        ..Walk::default()
    };
    walk.table(root, "", "", false);
    walk.entries
}

#[derive(Default)]
struct Walk {
    entries: Vec<KeyEntry>,
    /// Whether a table is listed at each of its places.
    repeats: bool,
    /// Tables that are not listed again: all that were, or those that contain the present one.
    seen: Vec<&'static str>,
}

impl Walk {
    /// `is_list`: the table is an element of a list, `[[header]]`.
    fn table(&mut self, table: &TableDefinition, path: &str, header: &str, is_list: bool) {
        if self.seen.contains(&table.id) {
            return;
        }
        self.seen.push(table.id);
        let header_line = match (header, is_list) {
            ("", _) => String::new(),
            (name, false) => format!("[{name}]"),
            (name, true) => format!("[[{name}]]"),
        };
        for key in &table.keys {
            self.entries.push(KeyEntry {
                path: joined(path, key.name),
                header: header_line.clone(),
                key: key.clone(),
                provider: key.notes.providers.first().copied(),
            });
        }
        for key in table.keys.iter().filter(|key| !key.is_refused()) {
            let (path, header) = (joined(path, key.name), joined(header, key.name));
            self.kind(&key.kind, &path, &header, false);
        }
        if self.repeats {
            self.seen.pop();
        }
    }

    fn kind(&mut self, kind: &Kind, path: &str, header: &str, is_list: bool) {
        match kind {
            Kind::Table(table) => self.table(table, path, header, is_list),
            Kind::Named(sample, inner) => {
                self.kind(inner, &joined(path, "*"), &joined(header, sample), is_list);
            }
            Kind::List(inner) | Kind::OneOrMany(inner) => self.kind(inner, path, header, true),
            Kind::Either(one, other) => {
                self.kind(one, path, header, is_list);
                self.kind(other, path, header, is_list);
            }
            _ => {}
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

impl KeyEntry {
    /// The lines of an example file with this key. `None` for refused keys, and for tables that other keys show.
    pub(crate) fn snippet(&self) -> Option<String> {
        let notes = &self.key.notes;
        if self.key.is_refused() || notes.example.is_empty() || notes.example.contains('…') {
            return None;
        }
        let mut snippet = String::new();
        if !self.header.is_empty() {
            let _ = writeln!(snippet, "{}", self.header);
        }
        if let Some(provider) = self.provider {
            let _ = writeln!(snippet, "provider = \"{provider}\"");
        }
        let _ = writeln!(snippet, "{} = {}", self.key.name, notes.example);
        Some(snippet)
    }

    /// Renders the section of the key: heading, meaning, facts, example.
    pub(crate) fn section(&self, language: &str) -> String {
        let (key, notes) = (&self.key, &self.key.notes);
        let mut text = format!("### `{}`\n\n{}\n", self.path, prose(key.docs));
        if let Some((why, instead)) = notes.refusal {
            let _ = writeln!(text, "\nReserved: it {why}; {instead}.");
            return text;
        }
        let _ = writeln!(text, "\n- Value: {}", described(&key.kind));
        if let Kind::Choice(options) = inner_choice(&key.kind) {
            for (name, doc) in options {
                let _ = writeln!(text, "  - `\"{name}\"`: {doc}");
            }
        }
        if notes.is_required {
            let _ = writeln!(text, "- Required");
        }
        if let Some(default) = notes.default {
            let _ = writeln!(text, "- Default: {}", code_if_literal(default));
        }
        if !notes.providers.is_empty() {
            let _ = writeln!(text, "- Only with `provider`: {}", quoted(notes.providers));
        }
        let _ = writeln!(text, "- Since: {}", notes.since);
        if let Some(snippet) = self.snippet() {
            let _ = write!(text, "\n```toml {language}\n{snippet}```\n");
        }
        text
    }
}

/// Renders the whole page. `language` marks its snippets, so that a test can find and read them.
pub(crate) fn page(title: &str, intro: &str, language: &str, root: &TableDefinition) -> String {
    let mut text = format!(
        "# {title}\n\n<!-- Generated by scripts/reference.sh from the definitions that read the file. -->\n\n{}\n\n{intro}\n",
        prose(root.docs)
    );
    let mut table = String::new();
    for entry in keys(root) {
        let own = entry.path.rsplit_once('.').map_or("", |(table, _)| table);
        if own != table {
            own.clone_into(&mut table);
            let docs = table_docs(root, own);
            let _ = write!(text, "\n## `{own}`\n\n{docs}\n");
        } else if own.is_empty() && !text.contains("\n## ") {
            text.push_str("\n## Top level\n");
        }
        let _ = write!(text, "\n{}", entry.section(language));
    }
    text
}

/// The doc comment of the table at `path`.
fn table_docs(root: &TableDefinition, path: &str) -> String {
    let mut table = root.clone();
    for part in path.split('.') {
        if part == "*" {
            continue;
        }
        let Some(key) = table.keys.iter().find(|key| key.name == part) else {
            break;
        };
        match inner_table(&key.kind) {
            Some(inner) => table = inner,
            None => break,
        }
    }
    prose(table.docs)
}

fn inner_table(kind: &Kind) -> Option<TableDefinition> {
    match kind {
        Kind::Table(table) => Some(table.clone()),
        Kind::Named(_, inner) | Kind::List(inner) | Kind::OneOrMany(inner) => inner_table(inner),
        Kind::Either(one, other) => inner_table(one).or_else(|| inner_table(other)),
        _ => None,
    }
}

fn inner_choice(kind: &Kind) -> &Kind {
    match kind {
        Kind::List(inner) => inner_choice(inner),
        other => other,
    }
}

/// Joins the lines of a doc comment.
pub(crate) fn prose(docs: &[&str]) -> String {
    let lines: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
    lines.join("\n")
}

/// Describes the kind of a value.
fn described(kind: &Kind) -> String {
    match kind {
        Kind::Text => "a string".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Integer(least) => format!("an integer of at least {least}"),
        Kind::Number(least, most) if most.is_finite() => format!("a number from {least} to {most}"),
        Kind::Number(least, _) if least.is_finite() => format!("a number of at least {least}"),
        Kind::Number(..) => "a number".to_owned(),
        Kind::Seconds => "a number of seconds above 0".to_owned(),
        Kind::TimeSpan => time_span::DESCRIPTION.to_owned(),
        Kind::Choice(_) => "one of these strings:".to_owned(),
        Kind::List(inner) => format!("a list; each is {}", described(inner)),
        Kind::OneOrMany(inner) => format!("{}, or a list of such", described(inner)),
        Kind::Either(one, other) => format!("{}, or {}", described(one), described(other)),
        Kind::Table(_) => "a table".to_owned(),
        Kind::Named(sample, inner) => format!(
            "a table with names of your choice, such as `{sample}`; each is {}",
            described(inner)
        ),
        Kind::Free => "a table of anything".to_owned(),
        Kind::Any => "anything".to_owned(),
    }
}

fn code_if_literal(default: &str) -> String {
    let is_literal = default.parse::<f64>().is_ok() || matches!(default, "true" | "false");
    if is_literal {
        format!("`{default}`")
    } else {
        default.to_owned()
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`\"{name}\"`")).collect();
    names.join(", ")
}
