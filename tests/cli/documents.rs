//! The documents against the tree: links and paths exist, quoted messages are those of the sources, and jobs pass `check`.

use crate::support::Folder;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the operating system prints, so that no source has it.
const OF_THE_SYSTEM: [&str; 2] = ["Too many open files", "No space left on device"];

/// Pages that a generator writes; its own test holds that they are there and fresh.
const GENERATED: [&str; 3] = ["job-file.md", "trainers.md", "cli.md"];

/// The files under these folders whose names end so.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = folders.iter().map(|name| Path::new(ROOT).join(name)).collect();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.to_str().unwrap().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn documents() -> Vec<PathBuf> {
    let mut found = files(&["docs", "examples"], ".md");
    for name in [
        "README",
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
        "RELEASE",
    ] {
        found.push(Path::new(ROOT).join(format!("{name}.md")));
    }
    found
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .collect::<String>();
    kept.replace(' ', "-")
}

/// The targets of the Markdown links outside of code blocks.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        found.extend(targets.map(str::to_owned));
    }
    found
}

#[test]
fn every_relative_link_of_the_documents_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for document in documents() {
        for link in links(&fs::read_to_string(&document).unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, part) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let has_part = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                text.lines()
                    .any(|line| line.starts_with('#') && anchor(line) == part)
            };
            let is_generated = GENERATED.iter().any(|page| target.ends_with(page));
            if !is_generated && (!target.exists() || !part.is_empty() && !has_part()) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// All sources, with string literals that go on in the next line as one.
fn sources() -> String {
    let mut all = String::new();
    for file in files(&["src", "crates"], ".rs") {
        let text = fs::read_to_string(file).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            match line.strip_suffix('\\') {
                Some(begun) => {
                    all.push_str(begun);
                    let mut next = lines.next().unwrap_or_default().trim_start();
                    while let Some(begun) = next.strip_suffix('\\') {
                        all.push_str(begun);
                        next = lines.next().unwrap_or_default().trim_start();
                    }
                    all.push_str(next);
                }
                None => all.push_str(line),
            }
            all.push('\n');
        }
    }
    all
}

#[test]
fn troubleshooting_quotes_at_least_30_lines_and_the_sources_have_each() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/troubleshooting.md")).unwrap();
    let quoted: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'))
        .collect();
    assert!(quoted.len() >= 30, "{}", quoted.len());
    let sources = sources();
    let stale: Vec<&str> = quoted
        .into_iter()
        .filter(|line| !OF_THE_SYSTEM.contains(line))
        .filter(|line| {
            let parts = line.split('…').map(str::trim).filter(|part| part.len() > 3);
            !parts.clone().all(|part| sources.contains(part)) || parts.count() == 0
        })
        .collect();
    assert!(stale.is_empty(), "no source has {stale:#?}");
}

#[test]
fn architecture_names_only_paths_that_exist() {
    let text = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let spans = text.split('`').skip(1).step_by(2);
    let missing: BTreeSet<&str> = spans
        .filter(|span| !span.contains([' ', '\n']))
        .filter(|span| {
            [
                "src/", "crates/", "bin/", "tests/", "docs/", "deploy/", "scripts/", "benches/",
            ]
            .iter()
            .any(|folder| span.starts_with(folder))
        })
        .filter(|span| !Path::new(ROOT).join(span).exists())
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The TOML blocks of a document that are whole jobs.
fn jobs(document: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(document)).unwrap();
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .filter_map(|rest| rest.split("```").next())
        .filter(|block| block.contains("[data]") && block.contains("[student]"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn jobs_in_the_readme_and_the_guides_pass_check() {
    for document in ["README.md", "docs/guides/from-dspy.md"] {
        let jobs = jobs(document);
        assert!(!jobs.is_empty(), "{document}");
        for job in jobs {
            let folder = Folder::new();
            folder.write("job.toml", job);
            let row = "{\"text\": \"my card is gone\", \"label\": \"lost_card\"}\n";
            folder.write("train.jsonl", row);
            // `check` wants every variable that the job names to be set.
            let variables = [("OPENAI_API_KEY", "unused")];
            folder
                .start_with(&["check", "job.toml"], &variables)
                .end()
                .with(0);
        }
    }
}
