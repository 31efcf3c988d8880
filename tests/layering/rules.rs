//! Who may use what: homes of third-party crates, the two pure crates, and how files look.

use crate::paths::Uses;
use crate::sources::{File, Sources, folders, root};
use std::collections::BTreeMap;

/// Third-party crates and the only places that may use them.
const HOMES: [(&str, &[&str]); 26] = [
    ("brotli_decompressor", &["src/http/"]),
    ("clap", &["src/cli/"]),
    ("csv", &["src/trainset/"]),
    ("elsa", &["src/job/job_files.rs"]),
    ("flate2", &["src/http/"]),
    // The HTTP client and the metrics server use hyper below.
    ("hyper", &["src/http/", "src/metrics/server.rs"]),
    ("hyper_util", &["src/http/", "src/metrics/server.rs"]),
    // Log lines go around the progress bar.
    ("indicatif", &["src/report/progress.rs", "src/telemetry/mod.rs"]),
    ("jsonc_parser", &["src/schema/document/"]),
    ("lapin", &["src/broker/rabbitmq/"]),
    ("opentelemetry", &["src/telemetry/"]),
    ("opentelemetry_http", &["src/telemetry/"]),
    ("opentelemetry_otlp", &["src/telemetry/"]),
    ("opentelemetry_sdk", &["src/telemetry/"]),
    ("prometheus", &["src/metrics/"]),
    ("rand_mt", &["crates/pycompat/src/random.rs"]),
    ("redb", &["src/store/embedded/file.rs"]),
    ("redis", &["src/store/redis/"]),
    ("regex_syntax", &["src/lm/simulated/"]),
    (
        "reqwest",
        &[
            "src/http/",
            "src/lm/openai/",
            "src/finetune/http/",
            "src/finetune/command/finish/serve.rs",
            "src/telemetry/collector.rs",
            "bin/bench-lm-server/",
        ],
    ),
    ("rlimit", &["src/open_files.rs", "bin/bench-lm-server.rs"]),
    ("roxmltree", &["crates/dspy/src/adapter/xml/"]),
    ("tracing_subscriber", &["src/telemetry/"]),
    ("unicode_normalization", &["crates/dspy/src/"]),
    ("zmij", &["crates/pycompat/src/float.rs"]),
    ("zstd", &["src/store/redis/"]),
];

/// What the pure crates may depend on.
const PURE: [(&str, &[&str]); 2] = [
    (
        "crates/pycompat",
        &[
            "indexmap",
            "num-bigint",
            "num-traits",
            "rand_mt",
            "serde_json",
            "thiserror",
            "zmij",
        ],
    ),
    (
        "crates/dspy",
        &[
            "bsft-pycompat",
            "indexmap",
            "num-bigint",
            "regex",
            "roxmltree",
            "serde",
            "serde_json",
            "strsim",
            "thiserror",
            "unicode-normalization",
        ],
    ),
];

/// Paths of I/O and clocks, which the pure crates may not use. They may not use `async` either.
const IMPURE: [&str; 7] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::time",
];

/// The longest that a file may be, in lines; data is not counted.
const MOST_LINES: usize = 500;

/// Calls `check` for every production file.
fn each_file(mut check: impl FnMut(&File)) {
    for folder in folders() {
        Sources::read(&folder).files.values().for_each(&mut check);
    }
}

fn assert_none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn third_party_crates_are_used_in_their_homes_only() {
    let mut found = Vec::new();
    each_file(|file| {
        let path = file.path.display().to_string();
        for used in Uses::parse(file).all() {
            let homes = HOMES
                .iter()
                .find(|(krate, _)| used.first().is_some_and(|first| first == krate));
            if let Some((krate, homes)) = homes
                && !homes.iter().any(|home| path.starts_with(home))
            {
                found.push(format!(
                    "{path} uses {}; the home of {krate} is {homes:?}",
                    used.join("::")
                ));
            }
        }
    });
    assert_none(&found);
}

#[test]
fn worker_and_coordinator_do_not_use_each_other() {
    let mut found = Vec::new();
    each_file(|file| {
        let path = file.path.display().to_string();
        for (one, other) in [("src/worker/", "coordinator"), ("src/coordinator/", "worker")] {
            let uses = Uses::parse(file);
            let across = |used: &&Vec<String>| used.len() > 1 && used[0] == "crate" && used[1] == other;
            if path.starts_with(one) {
                found.extend(
                    uses.all()
                        .filter(across)
                        .map(|used| format!("{path} uses {}", used.join("::"))),
                );
            }
        }
    });
    assert_none(&found);
}

#[test]
fn pure_crates_have_no_io_clock_or_async() {
    let mut found = Vec::new();
    for (krate, allowed) in PURE {
        let manifest = std::fs::read_to_string(root().join(krate).join("Cargo.toml")).expect("a manifest");
        let (_, dependencies) = manifest
            .split_once("\n[dependencies]\n")
            .expect("a section [dependencies]");
        let (dependencies, _) = dependencies.split_once("\n[").expect("sections after it");
        for line in dependencies.lines().filter(|line| !line.trim().is_empty()) {
            let name = line.split(['.', ' ', '=']).next().expect("a name");
            if !allowed.contains(&name) {
                found.push(format!("{krate} depends on {name}"));
            }
        }
    }
    each_file(|file| {
        let path = file.path.display().to_string();
        if !PURE
            .iter()
            .any(|(krate, _)| path.starts_with(&format!("{krate}/")))
        {
            return;
        }
        let uses = Uses::parse(file);
        for used in uses.all().map(|used| used.join("::")) {
            if IMPURE.iter().any(|impure| used.starts_with(impure)) {
                found.push(format!("{path} uses {used}"));
            }
        }
        if words(&file.code).any(|word| word == "async") {
            found.push(format!("{path} has async code"));
        }
    });
    assert_none(&found);
}

#[test]
fn visible_type_name_is_defined_once() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    each_file(|file| {
        for line in file.code.lines() {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| !word.starts_with("pub"));
            // `pub(in path)` has a word more.
            if words.next() == Some("pub(in") {
                words.next();
            }
            let kind = words.next();
            if matches!(kind, Some("struct" | "enum" | "trait" | "type")) {
                let name: String = words
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| c.is_alphanumeric())
                    .collect();
                defined
                    .entry(name)
                    .or_default()
                    .push(file.path.display().to_string());
            }
        }
    });
    let twice = defined.into_iter().filter(|(_, files)| files.len() > 1);
    assert_none(
        &twice
            .map(|(name, files)| format!("{name}: {}", files.join(", ")))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn file_opens_with_its_purpose_and_has_at_most_500_lines() {
    let mut found = Vec::new();
    each_file(|file| {
        let path = file.path.display();
        let lines = file.text.lines().count();
        if !file.text.starts_with("//! ") {
            found.push(format!("{path} does not open with `//!` and what it holds"));
        }
        if lines > MOST_LINES {
            found.push(format!("{path} has {lines} lines"));
        }
    });
    assert_none(&found);
}

/// Where a secret may be read by its name. Names that come from a job are read in `src/key_ring/` only, which decides where the key may go.
const SECRET_READERS: [&str; 4] = [
    "src/secret.rs",
    "src/key_ring/",
    "src/cli/",
    // The names come from the trainers file of the worker.
    "src/finetune/command/",
];

#[test]
fn secrets_are_read_in_their_homes_only() {
    let mut found = Vec::new();
    each_file(|file| {
        let path = file.path.display().to_string();
        let reads = file.code.matches("Secret::read(").count();
        if reads > 0 && !SECRET_READERS.iter().any(|home| path.starts_with(home)) {
            found.push(format!("{path} reads a secret; the homes are {SECRET_READERS:?}"));
        }
    });
    assert_none(&found);
}

#[test]
fn match_has_no_arms_true_and_false() {
    let mut found = Vec::new();
    each_file(|file| {
        for (number, line) in file.code.lines().enumerate() {
            if ["true =>", "false =>"]
                .iter()
                .any(|arm| line.trim_start().starts_with(arm))
            {
                found.push(format!("{}:{}: {}", file.path.display(), number + 1, line.trim()));
            }
        }
    });
    assert_none(&found);
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}
