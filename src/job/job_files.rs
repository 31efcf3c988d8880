//! The files of a job: each is read once and added to the job's digest.

use crate::hex::hex;
use crate::schema::Item;
use crate::schema::Problems;
use crate::schema::document::{self, Node};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// The maximum size in bytes of a job file, or of a file that it names.
const MAX_BYTES: u64 = 256 << 20;

/// The files that were read, in that order.
///
/// Documents live as long as this value, so that places in them can be borrowed.
#[derive(Default)]
pub(super) struct Sources {
    files: elsa::FrozenVec<Box<(PathBuf, Node)>>,
    digest: RefCell<Sha256>,
}

impl Sources {
    pub(super) fn root(&self, path: &Path, problems: &mut Problems) -> Option<(&Path, &Node)> {
        match self.read(path) {
            Ok(text) => self.parse(path, &text, problems),
            Err(why) => {
                problems.add(
                    path,
                    None,
                    why,
                    "give the path of a job file in UTF-8; `init DIR` makes an example",
                );
                None
            }
        }
    }

    /// Reads a file that `item` names.
    pub(super) fn document(
        &self,
        path: &Path,
        item: &Item<'_>,
        problems: &mut Problems,
    ) -> Option<(&Path, &Node)> {
        match self.read(path) {
            Ok(text) => self.parse(path, &text, problems),
            Err(why) => {
                let message = format!("`{}`: {}: {why}", item.name, path.display());
                item.place.report(
                    problems,
                    message,
                    "write the path of a readable file, relative to this file",
                );
                None
            }
        }
    }

    /// Hex SHA-256 over all files that were read.
    pub(super) fn digest(&self) -> String {
        hex(&self.digest.borrow().clone().finalize())
    }

    fn parse(&self, path: &Path, text: &str, problems: &mut Problems) -> Option<(&Path, &Node)> {
        match document::parse(path, text) {
            Ok(node) => {
                let (path, node) = self.files.push_get(Box::new((path.to_owned(), node)));
                Some((path, node))
            }
            Err(more) => {
                problems.0.extend(more.0);
                None
            }
        }
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        let size = std::fs::metadata(path).map_err(|e| reason(&e))?.len();
        if size > MAX_BYTES {
            return Err(format!("the file has {size} bytes, more than {MAX_BYTES}"));
        }
        let bytes = std::fs::read(path).map_err(|e| reason(&e))?;
        let mut digest = self.digest.borrow_mut();
        digest.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        digest.update(&bytes);
        String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..good].iter().filter(|b| **b == b'\n').count() + 1;
            format!("the file is not UTF-8 (line {line})")
        })
    }
}

/// Why a file cannot be read, for users.
fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::IsADirectory => "this is a directory".to_owned(),
        _ => format!("the file cannot be read: {error}"),
    }
}

/// Resolves a path that is relative to the file that contains it.
pub(super) fn sibling(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}
