//! A folder with a job in it, and the runs that it came to.

use super::binary::{Ended, Running, command};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A temporary folder; runs are started in it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Runs the binary in the folder, to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Starts the binary in the folder.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Running::start(command)
    }

    /// The command that runs the binary in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.current_dir(self.0.path());
        command
    }

    /// `compile job.toml --out OUT`, to its end.
    pub(crate) fn compile(&self, out: &str) -> Ended {
        self.run(&["compile", "job.toml", "--out", out])
    }

    /// Writes a file for `--keys` with the variables that workers may send, each to the server of the address beside it. Returns its
    /// path.
    pub(crate) fn keys_file(&self, keys: &[(&str, &str)]) -> String {
        let mut origins: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, address) in keys {
            let origin: Vec<&str> = address.splitn(4, '/').take(3).collect();
            origins.entry(name).or_default().push(origin.join("/"));
        }
        let table = |(name, to): (&str, Vec<String>)| format!("[key.{name}]\nto = {to:?}\n");
        self.write("keys.toml", origins.into_iter().map(table).collect::<String>());
        self.path("keys.toml").display().to_string()
    }

    /// Lines of a run's `traces.jsonl` so far.
    pub(crate) fn traced(&self, out: &str) -> usize {
        let bytes = fs::read(self.path(out).join("traces.jsonl")).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count()
    }

    /// What a job and the LM's answers alone decide: `compiled.json`, `traces.jsonl` and all of `data/`, by name.
    pub(crate) fn result(&self, out: &str) -> BTreeMap<String, String> {
        let out = self.path(out);
        let mut files: Vec<PathBuf> = fs::read_dir(out.join("data"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.extend([out.join("compiled.json"), out.join("traces.jsonl")]);
        files
            .into_iter()
            .map(|file| {
                let text =
                    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
                (name(&out, &file), text)
            })
            .collect()
    }

    /// Every file under the folder, by name.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(name(self.0.path(), &path), fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

fn name(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().display().to_string()
}

/// Two results are the same, byte for byte; names the first difference.
#[track_caller]
pub(crate) fn same(ours: &BTreeMap<String, String>, theirs: &BTreeMap<String, String>) {
    let names = |result: &BTreeMap<String, String>| result.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs));
    for (name, text) in ours {
        let (left, right) = (text.lines(), theirs[name].lines());
        for (number, (left, right)) in left.zip(right).enumerate() {
            assert_eq!(left, right, "{name}:{}", number + 1);
        }
        assert!(*text == theirs[name], "{name} has other lines at its end");
    }
}
