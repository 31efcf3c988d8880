//! The production files of a crate: their text without comments, strings and unit tests, and their modules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A crate's production files by module path; the root module has the empty path.
pub(crate) struct Sources {
    pub(crate) files: BTreeMap<Vec<String>, File>,
}

/// One file.
pub(crate) struct File {
    /// Relative to the repository.
    pub(crate) path: PathBuf,
    /// As written.
    pub(crate) text: String,
    /// Without comments, strings and unit tests.
    pub(crate) code: String,
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders with production code: the root package, its programs, and the member crates.
pub(crate) fn folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("bin")];
    let members = std::fs::read_dir(root().join("crates")).expect("the repository has crates");
    let mut members: Vec<_> = members
        .map(|member| {
            Path::new("crates")
                .join(member.expect("a readable folder").file_name())
                .join("src")
        })
        .filter(|member| root().join(member).is_dir())
        .collect();
    members.sort();
    folders.append(&mut members);
    folders
}

impl Sources {
    /// The production files below a folder of the repository.
    pub(crate) fn read(folder: &Path) -> Sources {
        let mut sources = Sources {
            files: BTreeMap::new(),
        };
        sources.add(folder, &[]);
        let tests: Vec<Vec<String>> = sources
            .files
            .iter()
            .flat_map(|(module, file)| test_modules(&file.text).map(|name| child(module, name)))
            .collect();
        sources
            .files
            .retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        assert!(!sources.files.is_empty(), "{} has no sources", folder.display());
        sources
    }

    fn add(&mut self, folder: &Path, module: &[String]) {
        for entry in std::fs::read_dir(root().join(folder)).expect("a folder of sources") {
            let path = folder.join(entry.expect("a readable entry").file_name());
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if root().join(&path).is_dir() {
                self.add(&path, &child(module, &stem));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(root().join(&path)).expect("a source file is UTF-8");
                let code = code(&text);
                let module = match stem.as_str() {
                    "lib" | "mod" => module.to_vec(),
                    name => child(module, name),
                };
                self.files.insert(module, File { path, text, code });
            }
        }
    }
}

fn child(module: &[String], name: &str) -> Vec<String> {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// The modules that a file declares for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("#[cfg(test)]").skip(1).map(str::trim_start);
    after.filter_map(|rest| {
        let rest = rest.strip_prefix("pub(crate) ").unwrap_or(rest);
        let (name, _) = rest.strip_prefix("mod ")?.split_once(';')?;
        name.chars()
            .all(|c| c.is_alphanumeric() || c == '_')
            .then_some(name)
    })
}

/// The text without comments, contents of strings, and the unit tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest, code.chars().last()) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            string_length(rest)
        } else {
            char_length(rest)
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// The hashes of a raw string that starts here.
fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') {
        return None;
    }
    let rest = rest.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then_some(hashes)
}

fn string_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal that starts here; 0 for a lifetime and everything else.
fn char_length(rest: &str) -> usize {
    let Some(inner) = rest.strip_prefix('\'') else {
        return 0;
    };
    if inner.starts_with('\\') {
        return inner[2..].find('\'').map_or(0, |end| end + 4);
    }
    let c = inner.chars().next().map_or(0, char::len_utf8);
    if inner[c..].starts_with('\'') { c + 2 } else { 0 }
}
