//! The generated reference: up to date, and every key is shown in a snippet that the real reader accepts.

use super::SchemaSubject;
use crate::cli::explain::is_meant;
use crate::schema::document::{self, Datum, Node};
use crate::schema::reference;
use crate::{finetune, job, key_ring};
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The generated files and what they should contain.
fn generated() -> Vec<(&'static str, String)> {
    let schema = |subject: SchemaSubject| subject.json_schema().expect("a file has a schema");
    vec![
        ("docs/reference/job-file.md", SchemaSubject::Job.markdown()),
        ("docs/reference/trainers.md", SchemaSubject::Trainers.markdown()),
        ("docs/reference/keys.md", SchemaSubject::Keys.markdown()),
        ("docs/reference/cli.md", SchemaSubject::Cli.markdown()),
        ("docs/schema/job.schema.json", schema(SchemaSubject::Job)),
        (
            "docs/schema/trainers.schema.json",
            schema(SchemaSubject::Trainers),
        ),
        ("docs/schema/keys.schema.json", schema(SchemaSubject::Keys)),
    ]
}

/// Writes the files instead where `BSFT_WRITE_REFERENCE` is set, as `scripts/reference.sh` does.
#[test]
fn reference_is_up_to_date() {
    for (path, content) in generated() {
        let file = repository().join(path);
        if std::env::var_os("BSFT_WRITE_REFERENCE").is_some() {
            fs::write(&file, &content).expect("written");
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == content, "{path} is stale: run scripts/reference.sh");
    }
}

/// The bodies of the blocks of a page that begin with this mark.
fn snippets(page: &str, language: &str) -> Vec<String> {
    let start = format!("```toml {language}\n");
    let blocks = page.split(start.as_str()).skip(1);
    blocks
        .filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()))
        .collect()
}

/// The paths of all keys of a document.
fn paths(node: &Node, at: &str, found: &mut Vec<String>) {
    match &node.datum {
        Datum::Table(entries) => {
            for (key, entry) in entries {
                let path = if at.is_empty() {
                    key.clone()
                } else {
                    format!("{at}.{key}")
                };
                found.push(path.clone());
                paths(&entry.node, &path, found);
            }
        }
        Datum::List(items) => items.iter().for_each(|item| paths(item, at, found)),
        _ => {}
    }
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
}

#[test]
fn every_key_is_in_a_snippet_or_an_example_that_is_read() {
    let mut examples = Vec::new();
    files_below(&repository().join("examples"), &mut examples);
    for subject in [SchemaSubject::Job, SchemaSubject::Trainers, SchemaSubject::Keys] {
        let mut shown = Vec::new();
        let definition = subject.definition().expect("a file has a definition");
        let keys = reference::keys_at_all_places(&definition);
        let of_explain = keys.iter().filter_map(reference::KeyEntry::snippet);
        for text in of_explain.chain(snippets(&subject.markdown(), subject.language())) {
            let file = Path::new("snippet.toml");
            let node = document::parse(file, &text).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
            let problems = match subject {
                SchemaSubject::Job => job::problems_of_keys(file, &node),
                SchemaSubject::Keys => key_ring::problems_of_keys_file(file, &node),
                _ => finetune::problems_of_trainers(file, &node),
            };
            // A snippet shows one key; what else a whole file needs is missing.
            let wrong: Vec<String> = problems
                .0
                .iter()
                .filter(|problem| !problem.message.contains("has no `"))
                .map(ToString::to_string)
                .collect();
            assert!(wrong.is_empty(), "{text}\n{}", wrong.join("\n"));
            paths(&node, "", &mut shown);
        }
        for file in &examples {
            let of_file = match file.file_name().and_then(|name| name.to_str()) {
                Some("trainers.toml") => SchemaSubject::Trainers,
                Some("keys.toml") => SchemaSubject::Keys,
                _ => SchemaSubject::Job,
            };
            if of_file == subject {
                let text = fs::read_to_string(file).expect("read");
                paths(&document::parse(file, &text).expect("TOML"), "", &mut shown);
            }
        }
        let missing: Vec<String> = keys
            .into_iter()
            .filter(|entry| !entry.key.is_refused())
            .filter(|entry| {
                !shown
                    .iter()
                    .any(|path| is_meant(&entry.path, &path.split('.').collect::<Vec<_>>()))
            })
            .map(|entry| entry.path)
            .collect();
        assert_eq!(missing, Vec::<String>::new(), "keys that nothing shows");
    }
}

#[test]
fn every_key_is_a_property_of_the_json_schema() {
    let text = SchemaSubject::Job.json_schema().expect("a schema");
    let schema: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["properties"]["data"]["$ref"], "#/$defs/DataTable");
    let metric = &schema["$defs"]["MetricTable"]["properties"];
    assert!(metric["f1"].is_object() && metric["judge"].is_null(), "{metric}");
}
