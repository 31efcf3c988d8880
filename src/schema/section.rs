//! Typed access to a document: a value of the wrong type becomes a problem with its line.

use super::document::{Datum, Node, TableEntry};
use super::problem::Problems;
use crate::value::Value;
use indexmap::IndexMap;
use num_traits::ToPrimitive;
use serde_json::{Map, Value as Json};
use std::cmp::Reverse;
use std::path::Path;

/// A place in a file.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a Path,
    pub(crate) line: u32,
}

impl<'a> Place<'a> {
    /// The same file with another line.
    pub(crate) fn with_line(self, line: u32) -> Place<'a> {
        Place { line, ..self }
    }

    /// Reports a problem here.
    pub(crate) fn report(
        self,
        problems: &mut Problems,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        problems.add(self.file, Some(self.line), message, remedy);
    }
}

/// A table of a document: `[name]`.
#[derive(Clone)]
pub(crate) struct Section<'a> {
    pub(crate) name: String,
    pub(crate) place: Place<'a>,
    entries: &'a IndexMap<String, TableEntry>,
}

/// A value of a document and the dotted name under which it is found.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub(crate) name: String,
    pub(crate) place: Place<'a>,
    node: &'a Node,
}

impl<'a> Section<'a> {
    /// The table of a whole file.
    pub(crate) fn root(file: &'a Path, node: &'a Node, problems: &mut Problems) -> Option<Section<'a>> {
        let place = Place {
            file,
            line: node.line,
        };
        Item {
            name: String::new(),
            place,
            node,
        }
        .section(problems)
    }

    /// The keys with their lines, including those whose value is null.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'a str, u32)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry.line))
    }

    /// The value of `key`. `None` if it is missing or null.
    pub(crate) fn get(&self, key: &str) -> Option<Item<'a>> {
        self.entries
            .get_key_value(key)
            .and_then(|(key, entry)| self.item(key, entry))
    }

    /// All values in the file's order, without nulls.
    pub(crate) fn items(&self) -> impl Iterator<Item = (&'a str, Item<'a>)> {
        self.entries
            .iter()
            .filter_map(|(key, entry)| Some((key.as_str(), self.item(key, entry)?)))
    }

    /// The table as plain JSON data, without nulls.
    pub(crate) fn to_json(&self) -> Map<String, Json> {
        self.items()
            .map(|(key, item)| (key.to_owned(), item.node.to_json()))
            .collect()
    }

    fn item(&self, key: &str, entry: &'a TableEntry) -> Option<Item<'a>> {
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        let place = Place {
            line: entry.line,
            ..self.place
        };
        (entry.node.datum != Datum::Null).then_some(Item {
            name,
            place,
            node: &entry.node,
        })
    }

    /// The value of a required `key`. A missing key is a problem.
    pub(crate) fn need(&self, key: &str, example: &str, problems: &mut Problems) -> Option<Item<'a>> {
        let item = self.get(key);
        if item.is_none() {
            let within = if self.name.is_empty() {
                "the file".to_owned()
            } else {
                format!("[{}]", self.name)
            };
            self.place.report(
                problems,
                format!("{within} has no `{key}`"),
                format!("write `{key} = {example}`"),
            );
        }
        item
    }
}

impl<'a> Item<'a> {
    /// Reports that the value is not `what`.
    pub(crate) fn wrong<T>(&self, what: &str, example: &str, problems: &mut Problems) -> Option<T> {
        let message = format!("`{}` is {}, not {what}", self.name, self.node.datum.kind());
        let key = self.name.rsplit('.').next().unwrap_or(&self.name);
        self.place
            .report(problems, message, format!("write `{key} = {example}`"));
        None
    }

    pub(crate) fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.datum {
            Datum::Text(s) => Some(s),
            _ => self.wrong("a string", "\"…\"", problems),
        }
    }

    /// Reads a string that is not empty.
    pub(crate) fn word(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.text(problems)?;
        if text.trim().is_empty() {
            self.place.report(
                problems,
                format!("`{}` is empty", self.name),
                "write something there or leave the key out",
            );
            return None;
        }
        Some(text)
    }

    pub(crate) fn flag(&self, problems: &mut Problems) -> Option<bool> {
        match &self.node.datum {
            Datum::Bool(b) => Some(*b),
            _ => self.wrong("a boolean", "true", problems),
        }
    }

    /// Reads an integer of at least `least`.
    pub(crate) fn count(&self, least: u64, problems: &mut Problems) -> Option<u64> {
        let Datum::Number(Value::Int(i)) = &self.node.datum else {
            return self.wrong("an integer", &least.max(1).to_string(), problems);
        };
        match u64::try_from(*i) {
            Ok(i) if i >= least => Some(i),
            _ => {
                let message = format!("`{}` is {i}", self.name);
                self.place
                    .report(problems, message, format!("write an integer of at least {least}"));
                None
            }
        }
    }

    /// Reads a number within `least..=most`.
    pub(crate) fn number(&self, least: f64, most: f64, problems: &mut Problems) -> Option<f64> {
        let number = match &self.node.datum {
            Datum::Number(Value::Float(f)) => *f,
            Datum::Number(Value::Int(i)) => i.to_f64().unwrap_or(f64::NAN),
            _ => return self.wrong("a number", "0.5", problems),
        };
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let remedy = if most.is_finite() {
            format!("write a number from {least} to {most}")
        } else {
            format!("write a number of at least {least}")
        };
        self.place
            .report(problems, format!("`{}` is {number}", self.name), remedy);
        None
    }

    pub(crate) fn section(&self, problems: &mut Problems) -> Option<Section<'a>> {
        match &self.node.datum {
            Datum::Table(entries) => Some(Section {
                name: self.name.clone(),
                place: self.place,
                entries,
            }),
            _ => self.wrong("a table", "{ … }", problems),
        }
    }

    pub(crate) fn list(&self, problems: &mut Problems) -> Option<Vec<Item<'a>>> {
        match &self.node.datum {
            Datum::List(nodes) => {
                let item = |node: &'a Node| {
                    let place = Place {
                        line: node.line,
                        ..self.place
                    };
                    Item {
                        name: self.name.clone(),
                        place,
                        node,
                    }
                };
                Some(nodes.iter().map(item).collect())
            }
            _ => self.wrong("a list", "[ … ]", problems),
        }
    }

    pub(crate) fn is_table(&self) -> bool {
        matches!(self.node.datum, Datum::Table(_))
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.node.datum, Datum::List(_))
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self.node.datum, Datum::Text(_))
    }

    pub(crate) fn node(&self) -> &'a Node {
        self.node
    }
}

/// The length of the common prefix and suffix of two keys: `trainr` is nearer to `trainer` than to `train`.
fn alike_at_the_ends(one: &str, other: &str) -> usize {
    let same = |(a, b): &(char, char)| a == b;
    let start = one.chars().zip(other.chars()).take_while(same).count();
    let end = one
        .chars()
        .rev()
        .zip(other.chars().rev())
        .take_while(same)
        .count();
    start + end
}

/// A remedy: "did you mean …" if one of `known` is near, otherwise all of them.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    if known.clone().next().is_none() {
        return "there are none; leave it out".to_owned();
    }
    match near(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write one of: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The one of `known` that `word` was probably meant to be. `None` if more than a third of it would have to change.
pub(crate) fn near<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distance = |k: &str| strsim::damerau_levenshtein(&word.to_lowercase(), &k.to_lowercase());
    let (distance, _, near) = known
        .map(|k| (distance(k), Reverse(alike_at_the_ends(word, k)), k))
        .min()?;
    let longer = word.chars().count().max(near.chars().count());
    (distance <= (longer / 3).max(1)).then_some(near)
}
