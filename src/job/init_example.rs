//! `init`: a small job that compiles without changes and without an LM server.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const JOB: &str = include_str!("../../examples/intents/job.toml");
const TRAIN: &str = include_str!("../../examples/intents/train.jsonl");

/// The JSON Schema beside the job, with which editors complete and check the job file, also offline.
const SCHEMA_FILE: &str = "job.schema.json";
const SCHEMA_LINE: &str = "#:schema ./job.schema.json";

/// Writes the example into `dir`, which is created if missing. Existing files are not overwritten.
///
/// Returns the paths of the files, the job file first.
pub fn init(dir: &Path) -> io::Result<Vec<PathBuf>> {
    fs::create_dir_all(dir)?;
    let schema = crate::schema::json_schema::schema(super::SCHEMA_TITLE, &super::definition());
    let job = format!("{SCHEMA_LINE}\n{JOB}");
    let files = [
        ("job.toml", job.as_str()),
        ("train.jsonl", TRAIN),
        (SCHEMA_FILE, schema.as_str()),
    ];
    let paths = files.map(|(name, _)| dir.join(name));
    if let Some(taken) = paths.iter().find(|path| path.exists()) {
        let message = format!("{} exists already; choose another directory", taken.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    for (path, (_, content)) in paths.iter().zip(files) {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)?
            .write_all(content.as_bytes())?;
    }
    Ok(paths.into())
}
