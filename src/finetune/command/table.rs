//! Typed access to a table of the `--trainers` file: what is not as it should be becomes a problem that names its key.

use super::config::{Argument, BodyValue};
use super::template::Template;
use crate::hex::hex;
use crate::schema::nearest;
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};
use std::num::NonZeroUsize;
use std::time::Duration;
use toml::Value;

/// The value's text, whatever the order of its tables' keys.
fn canonical(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let mut entries: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key:?}:{}", canonical(value)))
                .collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        // In quotes, so that "1" is not 1.
        Value::String(text) => format!("{text:?}"),
        other => format!("{other:?}"),
    }
}

/// A table and where its problems go.
pub(super) struct Table<'a, 'p> {
    name: String,
    table: &'a toml::Table,
    problems: &'p mut Vec<String>,
}

impl<'a, 'p> Table<'a, 'p> {
    pub(super) fn new(name: String, table: &'a toml::Table, problems: &'p mut Vec<String>) -> Table<'a, 'p> {
        Table {
            name,
            table,
            problems,
        }
    }

    pub(super) fn problem_count(&self) -> usize {
        self.problems.len()
    }

    /// Reports that the table as a whole is wrong.
    pub(super) fn report(&mut self, what: &str) {
        self.problems.push(format!("`{}` {what}", self.name));
    }

    /// Reports that the value of `key` is wrong.
    pub(super) fn report_key(&mut self, key: &str, what: &str) {
        let name = self.path(key);
        self.problems.push(format!("`{name}` {what}"));
    }

    fn path(&self, key: &str) -> String {
        match self.name.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.name),
        }
    }

    fn wrong<T>(&mut self, key: &str, value: &Value, what: &str) -> Option<T> {
        self.report_key(
            key,
            &format!("is {} {}: write {what}", article(value), value.type_str()),
        );
        None
    }

    /// Refuses keys other than `known`.
    pub(super) fn only(&mut self, known: &[&str]) {
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            let remedy = nearest(key, known.iter().copied());
            self.report_key(key, &format!("is not a key: {remedy}"));
        }
    }

    /// A digest of what the table says under these keys.
    pub(super) fn digest(&self, keys: &[&str]) -> String {
        let mut hasher = Sha256::new();
        for key in keys {
            let said = self.table.get(*key).map(canonical).unwrap_or_default();
            hasher.update(format!("{key}={said}\n"));
        }
        hex(&hasher.finalize())
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.table.get(key)? {
            Value::String(text) if text.trim().is_empty() => {
                self.report_key(key, "is empty: write something there or leave the key out");
                None
            }
            Value::String(text) => Some(text.clone()),
            other => self.wrong(key, other, "a string"),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.table.get(key)? {
            Value::Boolean(flag) => Some(*flag),
            other => self.wrong(key, other, "true or false"),
        }
    }

    /// A number above zero.
    pub(super) fn count(&mut self, key: &str) -> Option<NonZeroUsize> {
        match self.table.get(key)? {
            Value::Integer(number) => {
                let count = usize::try_from(*number).ok().and_then(NonZeroUsize::new);
                if count.is_none() {
                    self.report_key(key, &format!("is {number}: write a number above 0"));
                }
                count
            }
            other => self.wrong(key, other, "a number"),
        }
    }

    /// A length of time above zero.
    pub(super) fn seconds(&mut self, key: &str) -> Option<Duration> {
        let seconds = match self.table.get(key)? {
            Value::Integer(seconds) => *seconds as f64,
            Value::Float(seconds) => *seconds,
            other => return self.wrong(key, other, "a number of seconds"),
        };
        match Duration::try_from_secs_f64(seconds) {
            Ok(length) if !length.is_zero() => Some(length),
            _ => {
                self.report_key(key, &format!("is {seconds}: write a number of seconds above 0"));
                None
            }
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let list = match self.table.get(key)? {
            Value::Array(list) => list,
            other => return self.wrong(key, other, "a list of strings"),
        };
        let texts: Option<Vec<String>> = list.iter().map(|v| v.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.report_key(key, "has something in it that is not a string");
        }
        texts
    }

    pub(super) fn text_or_texts(&mut self, key: &str) -> Option<Vec<String>> {
        match self.table.get(key)? {
            Value::String(text) => Some(vec![text.clone()]),
            _ => self.texts(key),
        }
    }

    pub(super) fn text_table(&mut self, key: &str) -> IndexMap<String, String> {
        let mut texts = IndexMap::new();
        match self.table.get(key) {
            None => {}
            Some(Value::Table(table)) => {
                for (name, value) in table {
                    match value.as_str() {
                        Some(text) => drop(texts.insert(name.clone(), text.to_owned())),
                        None => {
                            self.report_key(&format!("{key}.{name}"), "is not a string: put it in quotes")
                        }
                    }
                }
            }
            Some(other) => self.wrong(key, other, "a table of strings").unwrap_or(()),
        }
        texts
    }

    pub(super) fn template_of(&mut self, key: &str, text: &str) -> Template {
        Template::parse(text).unwrap_or_else(|why| {
            self.report_key(key, &format!("has a wrong placeholder: {why}"));
            Template::default()
        })
    }

    pub(super) fn template(&mut self, key: &str) -> Option<Template> {
        let text = self.text(key)?;
        Some(self.template_of(key, &text))
    }

    pub(super) fn template_or(&mut self, key: &str, default: &str) -> Template {
        let text = self.text(key).unwrap_or_else(|| default.to_owned());
        self.template_of(key, &text)
    }

    pub(super) fn templates(&mut self, key: &str) -> IndexMap<String, Template> {
        let texts = self.text_table(key);
        let read = |(name, text): (String, String)| {
            let template = self.template_of(&format!("{key}.{name}"), &text);
            (name, template)
        };
        texts.into_iter().map(read).collect()
    }

    /// A command: strings, and lists of strings that may be left out. None: nothing.
    pub(super) fn arguments(&mut self, key: &str) -> Vec<Argument> {
        let list = match self.table.get(key) {
            None => return Vec::new(),
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(Value::Array(_)) => {
                self.report_key(key, "is empty: write a command, or leave the key out");
                return Vec::new();
            }
            Some(other) => {
                let what = "a list, `[\"program\", \"argument\"]`: no shell takes a line apart";
                return self.wrong(key, other, what).unwrap_or_default();
            }
        };
        let mut arguments = Vec::new();
        for (at, value) in list.iter().enumerate() {
            let name = format!("{key}[{at}]");
            match value {
                Value::String(text) => arguments.push(Argument::Always(self.template_of(&name, text))),
                Value::Array(inner) if inner.iter().all(Value::is_str) => {
                    let texts = inner.iter().filter_map(Value::as_str);
                    let templates = texts.map(|text| self.template_of(&name, text)).collect();
                    arguments.push(Argument::Optional(templates));
                }
                other => self
                    .wrong(&name, other, "a string (numbers, too), or a list of strings")
                    .unwrap_or(()),
            }
        }
        arguments
    }

    /// A table of anything, without dates.
    pub(super) fn json(&mut self, key: &str) -> Map<String, Json> {
        match self.table.get(key) {
            None => Map::new(),
            Some(Value::Table(table)) => {
                let pairs = table.iter().map(|(name, value)| (name.clone(), to_json(value)));
                pairs.collect()
            }
            Some(other) => self
                .wrong(key, other, "a table, `{ n_epochs = 3 }`")
                .unwrap_or_default(),
        }
    }

    /// The body of a request.
    pub(super) fn body(&mut self, key: &str) -> Vec<(String, BodyValue)> {
        let values = self.json(key);
        let read = |(name, value): (String, Json)| {
            let value = match value {
                Json::String(text) => BodyValue::Text(self.template_of(&format!("{key}.{name}"), &text)),
                other => BodyValue::Json(other),
            };
            (name, value)
        };
        values.into_iter().map(read).collect()
    }

    pub(super) fn table(&mut self, key: &str) -> Option<Table<'a, '_>> {
        match self.table.get(key)? {
            Value::Table(table) => Some(Table::new(self.path(key), table, self.problems)),
            other => self.wrong(key, other, "a table"),
        }
    }

    /// Carries out `each` for the tables in the table of that key.
    pub(super) fn each_table(&mut self, key: &str, mut each: impl FnMut(&str, &mut Table<'a, '_>)) {
        let Some(mut outer) = self.table(key) else { return };
        let inner = outer.table;
        for name in inner.keys() {
            if let Some(mut table) = outer.table(name) {
                each(name, &mut table);
            }
        }
    }
}

fn article(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) | Value::Array(_) => "an",
        _ => "a",
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Datetime(date) => Json::from(date.to_string()),
        Value::Array(list) => list.iter().map(to_json).collect(),
        Value::Table(table) => Json::Object(table.iter().map(|(k, v)| (k.clone(), to_json(v))).collect()),
    }
}
