//! The tables of a trainer's entry that have rules of their own: defaults, files, result, progress and serve.

use super::template::placeholders::is_train_key;
use super::template::values::unfit_value;
use super::template::{Template, is_name};
use super::trainers::{
    DEFAULT_PATTERNS, DEFAULT_READY, DEFAULT_RESULT, ProgressRule, ResultRule, Serve, ServeHow,
};
use super::trainers_file_keys::{ProgressTable, ResultTable, ServeTable};
use crate::schema::form::{NamedEntry, Read};
use crate::schema::{Problems, Section, nearest};
use indexmap::IndexMap;
use regex::Regex;
use serde_json::{Map, Value as Json};
use std::path::Path;

/// Where the problems of a table go.
pub(super) struct TableReport<'a, 'p> {
    table: &'p Section<'a>,
    problems: &'p mut Problems,
}

impl<'a, 'p> TableReport<'a, 'p> {
    pub(super) fn new(table: &'p Section<'a>, problems: &'p mut Problems) -> TableReport<'a, 'p> {
        TableReport { table, problems }
    }

    /// Reports what the value at a dotted path in the table is or has, at its line. A key of a chosen name may have dots in it: the
    /// line is that of the last part that is found.
    pub(super) fn key(&mut self, path: &str, what: &str, remedy: &str) {
        let mut place = self.table.place;
        let mut table = Some(self.table.clone());
        let mut rest = Some(path);
        while let (Some(path), Some(within)) = (rest, table) {
            let (key, after) = match path.split_once('.') {
                _ if within.get(path).is_some() => (path, None),
                Some((key, after)) => (key, Some(after)),
                None => (path, None),
            };
            let item = within.get(key);
            if let Some(item) = &item {
                place = item.place;
            }
            table = item
                .filter(|item| item.is_table())
                .and_then(|item| item.section(&mut Problems::default()));
            rest = after;
        }
        let message = format!("`{}.{path}` {what}", self.table.name);
        place.report(self.problems, message, remedy);
    }
}

/// A table of names that the user chose, without the values that could not be read.
pub(super) fn named<T>(entries: Option<Read<'_, Vec<NamedEntry<'_, T>>>>) -> IndexMap<String, T> {
    let entries = entries.map(|entries| entries.value).unwrap_or_default();
    let read = entries
        .into_iter()
        .filter_map(|entry| Some((entry.name.to_owned(), entry.value?)));
    read.collect()
}

pub(super) fn defaults(
    table: Option<&Read<'_, Section<'_>>>,
    report: &mut TableReport<'_, '_>,
) -> Map<String, Json> {
    let values = table.map(|table| table.value.to_json()).unwrap_or_default();
    for (key, value) in &values {
        let path = format!("defaults.{key}");
        if !is_name(key) {
            report.key(&path, "is not a name", "use letters, digits and `_`");
        } else if !is_train_key(key) {
            report.key(&path, "is a placeholder of bsft's own", "take it out");
        } else if let Some(why) = unfit_value(value) {
            report.key(&path, why, "write a number, true, false or a string");
        }
    }
    values
}

pub(super) fn files(
    entries: Option<Read<'_, Vec<NamedEntry<'_, Vec<Template>>>>>,
    report: &mut TableReport<'_, '_>,
) -> IndexMap<String, Vec<Template>> {
    let files = named(entries);
    for name in files.keys() {
        let is_plain = Path::new(name)
            .file_name()
            .is_some_and(|plain| plain == name.as_str());
        if !is_plain || super::work_dir::OWN_NAMES.contains(&name.as_str()) || name.contains(char::is_control)
        {
            let remedy = "write a plain file name that bsft does not use itself, such as `config.yaml`";
            report.key("files", &format!("has `{name}`"), remedy);
        }
    }
    files
}

pub(super) fn result(
    table: Option<Read<'_, ResultTable<'_>>>,
    report: &mut TableReport<'_, '_>,
) -> ResultRule {
    let table = table.map(|table| table.value);
    let (any_of, may_stop_early) = table.map_or((None, None), |table| (table.any_of, table.may_stop_early));
    let any_of: Vec<String> = match any_of {
        Some(names) => names.value.iter().map(|name| name.value.to_owned()).collect(),
        None => DEFAULT_RESULT.map(str::to_owned).to_vec(),
    };
    if any_of.iter().any(|name| !is_inside(name)) {
        report.key(
            "result.any_of",
            "leads out of the output folder",
            "write paths within it, such as `model.safetensors`",
        );
    }
    ResultRule {
        any_of,
        may_stop_early: may_stop_early.is_some_and(|flag| flag.value),
    }
}

/// The groups that a pattern may name.
const GROUPS: [&str; 5] = ["step", "total_steps", "epoch", "loss", "percent"];

pub(super) fn progress(
    table: Option<Read<'_, ProgressTable<'_>>>,
    report: &mut TableReport<'_, '_>,
) -> ProgressRule {
    let table = table.map(|table| table.value);
    let (regex, jsonl) = table.map_or((None, None), |table| (table.regex, table.jsonl));
    let texts: Vec<&str> = match &regex {
        Some(texts) => texts.value.iter().map(|text| text.value).collect(),
        None => DEFAULT_PATTERNS.to_vec(),
    };
    let patterns = texts.into_iter().filter_map(|text| pattern(text, report));
    let patterns = patterns.collect();
    let jsonl = jsonl.map(|name| name.value.to_owned());
    if jsonl.as_deref().is_some_and(|name| !is_inside(name)) {
        report.key(
            "progress.jsonl",
            "leads out of the output folder",
            "write a path within it",
        );
    }
    ProgressRule { patterns, jsonl }
}

fn pattern(text: &str, report: &mut TableReport<'_, '_>) -> Option<Regex> {
    let regex = match Regex::new(text) {
        Ok(regex) => regex,
        Err(error) => {
            let remedy = format!("correct it: {error}");
            report.key("progress.regex", "is not a regular expression", &remedy);
            return None;
        }
    };
    let mut names = regex.capture_names().flatten().peekable();
    if names.peek().is_none() {
        let remedy = "write `(?P<loss>…)`, also step, total_steps, epoch, percent";
        report.key("progress.regex", "has no named group", remedy);
    }
    if let Some(name) = names.find(|name| !GROUPS.contains(name)) {
        let remedy = nearest(name, GROUPS.into_iter());
        report.key("progress.regex", &format!("has the group `{name}`"), &remedy);
    }
    Some(regex)
}

pub(super) fn serve_rule(table: Read<'_, ServeTable<'_>>, report: &mut TableReport<'_, '_>) -> Option<Serve> {
    let table = table.value;
    let url = table.post.map(|url| url.value);
    let argv = table.argv.map(|argv| argv.value).unwrap_or_default();
    let ready_url = table.ready_url.map(|url| url.value);
    let body: Vec<_> = named(table.body).into_iter().collect();
    let api_key_env = table.api_key_env.map(|name| name.value.to_owned());
    if url.is_none() && (!body.is_empty() || api_key_env.is_some()) {
        report.key(
            "serve",
            "has no `post`",
            "write the address that `body` is sent to",
        );
    }
    let how = match (url, argv) {
        (Some(url), argv) if argv.is_empty() => ServeHow::Post {
            url,
            body,
            api_key_env,
        },
        (Some(_), _) => {
            report.key("serve.argv", "stands beside `post`", "write one of them");
            return None;
        }
        (None, argv) if !argv.is_empty() => ServeHow::Command(argv),
        (None, _) if ready_url.is_some() => ServeHow::Wait,
        (None, _) => {
            report.key(
                "serve",
                "has nothing to do",
                "write `post`, `argv` or `ready_url`",
            );
            return None;
        }
    };
    Some(Serve {
        how,
        ready_url,
        ready_timeout: table.ready_timeout_secs.map_or(DEFAULT_READY, |secs| secs.value),
        api_base: table.api_base.map(|base| base.value),
    })
}

/// Whether a relative path stays in the folder that it is joined to.
fn is_inside(path: &str) -> bool {
    use std::path::Component;
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}
