//! The `--keys` file: which variable holds each key, which origins may get it, and in which header.

use super::{KeyRing, KeyRule, Rules, is_reserved, origin, own_origins};
use crate::schema::definition::{Table as _, TableDefinition, optional};
use crate::schema::form::{List, Named, Read, Sub, Text, Word};
use crate::schema::table::table;
use crate::schema::{Problems, Section, document};
use crate::secret::is_variable_name;
use std::collections::HashMap;
use std::path::Path;

table! {
    /// A keys file lists the API keys that jobs may use on this worker, and the servers that each key may be sent to. A job names a key
    /// (`api_key_env`), and the address that gets it; the worker sends no key that this file does not allow.
    ///
    /// The file contains no key itself: each key is in an environment variable of the worker.
    pub(super) struct KeysTable {
        /// The keys by the name that jobs use: `[key.NAME]`.
        key: Named<Sub<KeyTable<'static>>> = Named("VLLM_API_KEY", Sub::new()), optional("{ VLLM_API_KEY = { to = [\"https://vllm.example:8000\"] } }").since("0.2.0");
    }
}

table! {
    /// One key.
    pub(super) struct KeyTable {
        /// The environment variable that holds the key.
        variable: Word = Word, optional("\"VLLM_KEY_OF_TEAM_A\"").default("the name of the table").since("0.2.0");
        /// The origins that may get the key, each with scheme, host and port. Optional for `OPENAI_API_KEY`, `TOGETHER_API_KEY` and
        /// `FIREWORKS_API_KEY`, which go to their own service.
        to: List<Text> = List(Text), optional("[\"https://vllm.example:8000\"]").default("the key's own service").since("0.2.0");
        /// The header that carries the bare key.
        header: Word = Word, optional("\"api-key\"").default("`Authorization: Bearer KEY`, or the job's `auth_header`").since("0.2.0");
    }
}

/// The keys of the keys file.
pub(crate) fn keys_definition() -> TableDefinition {
    KeysTable::definition()
}

/// The problems of the keys and values of a document, without what holds between them.
#[cfg(test)]
pub(crate) fn problems_of_keys_file(file: &Path, node: &document::Node) -> Problems {
    let mut problems = Problems::default();
    if let Some(root) = Section::root(file, node, &mut problems) {
        KeysTable::read(&root, &mut problems);
    }
    problems
}

impl KeyRing {
    /// Reads a `--keys` file.
    ///
    /// # Errors
    ///
    /// Returns all problems of the file together.
    pub fn read(path: &Path) -> Result<KeyRing, Problems> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let mut problems = Problems::default();
            let remedy = "give the path of a keys file in UTF-8";
            problems.add(path, None, format!("the file cannot be read: {error}"), remedy);
            problems
        })?;
        parse(&text, path)
    }
}

/// Reads the text of `file`.
pub(super) fn parse(text: &str, file: &Path) -> Result<KeyRing, Problems> {
    let node = document::parse(file, text)?;
    let mut problems = Problems::default();
    let keys = Section::root(file, &node, &mut problems).map(|root| {
        let table = KeysTable::read(&root, &mut problems);
        keys(table, &mut problems)
    });
    let ring = keys.map(|keys| KeyRing {
        rules: Rules::Listed {
            file: Some(file.to_owned()),
            keys,
        },
    });
    problems.or(ring)
}

fn keys(table: KeysTable<'_>, problems: &mut Problems) -> HashMap<String, KeyRule> {
    let mut keys = HashMap::new();
    for entry in table.key.map(|entries| entries.value).unwrap_or_default() {
        if !is_variable_name(entry.name) {
            entry.item.place.report(
                problems,
                format!("`{}` is not a name that a job can use", entry.item.name),
                "write a name such as `[key.VLLM_API_KEY]`, which the job file repeats as `api_key_env = \"…\"`",
            );
        }
        let Some(table) = entry.value else { continue };
        let variable = variable(entry.name, table.variable.as_ref(), &table.section, problems);
        let to = match &table.to {
            Some(list) => list
                .value
                .iter()
                .filter_map(|text| origin_of(text, problems))
                .collect(),
            None => own_origins(entry.name).unwrap_or_else(|| {
                table.section.place.report(
                    problems,
                    format!(
                        "[{}] does not list the servers that may get the key",
                        table.section.name
                    ),
                    "write `to = [\"https://HOST:PORT\"]`",
                );
                Vec::new()
            }),
        };
        let header = table.header.as_ref().and_then(|text| header(text, problems));
        keys.insert(entry.name.to_owned(), KeyRule { variable, to, header });
    }
    keys
}

fn variable(
    name: &str,
    given: Option<&Read<'_, &str>>,
    section: &Section<'_>,
    problems: &mut Problems,
) -> String {
    let variable = given.map_or(name, |given| given.value);
    let place = given.map_or(section.place, |given| given.place());
    if !is_variable_name(variable) {
        // The value may be a key, so the message does not contain it.
        place.report(
            problems,
            format!(
                "[{}]: `variable` is not the name of an environment variable",
                section.name
            ),
            "write `variable = \"VLLM_API_KEY\"` and set that variable; a key itself must not be in the file",
        );
    } else if is_reserved(variable) {
        place.report(
            problems,
            format!(
                "[{}]: the variable {variable} is never sent to a server",
                section.name
            ),
            "put the API key into another variable, and name that one",
        );
    }
    variable.to_owned()
}

fn origin_of(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let written = text.value.trim_end_matches('/');
    let found = origin(written);
    match &found {
        None => text.report(
            problems,
            format!(
                "`{}` has `{written}`, which is not the origin of a server",
                text.name()
            ),
            "write scheme, host and port, such as `https://vllm.example:8000`",
        ),
        // Neither path nor user, and the default port may be written.
        Some(origin) if written.matches('/').count() > 2 || written.contains('@') => text.report(
            problems,
            format!("`{}` has `{origin}` with more than an origin", text.name()),
            format!("write `{origin}`; every path of that server may get the key"),
        ),
        Some(_) => {}
    }
    found
}

fn header(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let name = text.value.to_ascii_lowercase();
    match crate::http::credential_header(&name) {
        Ok(()) => Some(name),
        Err(why) => {
            text.report(
                problems,
                format!("`{}` {why}", text.name()),
                "write `header = \"api-key\"`, or leave it out",
            );
            None
        }
    }
}
