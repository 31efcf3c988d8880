//! `init`: a small job that compiles as it stands, without an LM server.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 2] = [
    ("job.toml", include_str!("../../examples/intents/job.toml")),
    ("train.jsonl", include_str!("../../examples/intents/train.jsonl")),
];

/// Writes the example into `dir`, which is made where it is missing; nothing that exists is overwritten.
///
/// Gives the paths of the files, the job file first.
pub fn init(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(dir)?;
    let paths = FILES.map(|(name, _)| dir.join(name));
    if let Some(taken) = paths.iter().find(|path| path.exists()) {
        let message = format!("{} exists already; choose another directory", taken.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    for (path, (_, content)) in paths.iter().zip(FILES) {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?
            .write_all(content.as_bytes())?;
    }
    Ok(paths.into())
}
