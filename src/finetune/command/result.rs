//! Whether a training that ended has a result: an exit code of 0 proves nothing, trainers that are told to stop give it, too.

use super::config::Trainer;
use super::environment::without_secrets;
use super::launch::UNFINISHED;
use super::progress;
use super::values::Values;
use super::workdir::WorkDir;
use crate::finetune::TrainingProgress;
use crate::hex::hex;
use crate::run_dir::write_whole;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Where the output is when it is known to be good.
pub(super) const OUTPUT: &str = "output";

/// How much of the epochs or steps that were asked for a trainer may say it has made: the last line it prints is some steps old.
const NEARLY_ALL: f64 = 0.9;

/// How much of a log goes into a message, in bytes.
const TOLD: u64 = 4096;

/// What a trainer, or `upload`, may write to `{result_file}`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ResultFile {
    /// The model, as DSPy's `LM(model=…)` takes it.
    pub(super) model: Option<String>,
    /// Where the result lies, if not in the output folder.
    #[serde(alias = "artifact")]
    pub(super) artefact: Option<String>,
    /// Where it is served.
    pub(super) api_base: Option<String>,
    /// Tokens that were trained on.
    #[serde(alias = "trained_tokens")]
    pub(super) tokens: Option<u64>,
}

/// Reads `{result_file}`. An error: it is there and cannot be read.
pub(super) fn result_file(work: &WorkDir) -> Result<ResultFile, String> {
    let path = work.path("result.json");
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            format!(
                "the trainer's result file {} cannot be read: {error}",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ResultFile::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// What an exit code other than 0 means, with the trainer's last words and where to read on.
pub(super) fn failure(trainer: &Trainer, work: &WorkDir, code: i32) -> String {
    let what = match code {
        124 => "exit code 124: a time limit of its own".to_owned(),
        125 => "exit code 125: it could not be started".to_owned(),
        126 => "exit code 126: the command is not executable".to_owned(),
        127 => "exit code 127: the command was not found".to_owned(),
        137 => "it was killed (137): most often there was too little memory".to_owned(),
        143 => "somebody else stopped it (143)".to_owned(),
        code if code > 128 => format!("signal {} ended it ({code})", code - 128),
        code => format!("exit code {code}"),
    };
    let read = |name| progress::tail(&work.path(name), TOLD).unwrap_or_default();
    let mut words = read("stderr.log");
    if words.trim().is_empty() {
        words = read("stdout.log");
    }
    let words = without_secrets(trainer, words.replace('\r', "\n"));
    format!(
        "the trainer failed: {what}; its logs are in {}\n{}",
        work.root().display(),
        words.trim()
    )
}

/// Looks whether a trainer that ended with 0 has left a result. An error says what is missing.
pub(super) fn check(trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<(), String> {
    let at = work.root().display();
    let started = fs::metadata(work.path("attempts"))
        .and_then(|found| found.modified())
        .ok();
    let is_new = |path: &Path| {
        let Ok(found) = fs::metadata(path) else {
            return false;
        };
        found.len() > 0
            && started.is_none_or(|started| found.modified().is_ok_and(|written| written >= started))
    };
    let told = result_file(work)?;
    let any_of = &trainer.result.any_of;
    let output = output(work);
    if any_of.is_empty() && told.model.is_none() {
        return Err(format!(
            "the trainer ended well but named no model in {at}/result.json"
        ));
    }
    if !any_of.is_empty() && !any_of.iter().any(|name| is_new(&output.join(name))) {
        let names = any_of.join(", ");
        return Err(format!(
            "the trainer ended well but left none of {names} in {}",
            output.display()
        ));
    }
    let progress = progress::read(&trainer.progress, work, values);
    match short_of(&progress, values.epochs()).filter(|_| !trainer.result.may_stop_early) {
        Some(short) => Err(format!(
            "the trainer ended well but too early, {short}; its logs are in {at}"
        )),
        None => Ok(()),
    }
}

/// How far it came, if not to where it was to come.
fn short_of(progress: &TrainingProgress, epochs: Option<f64>) -> Option<String> {
    let too_few = |made: f64, wanted: f64| made < wanted * NEARLY_ALL;
    match (progress.step, progress.total_steps, progress.epoch, epochs) {
        (Some(step), Some(total), _, _) if too_few(step as f64, total as f64) => {
            Some(format!("at step {step} of {total}"))
        }
        (_, _, Some(epoch), Some(epochs)) if too_few(epoch, epochs) => {
            Some(format!("at epoch {epoch} of {epochs}"))
        }
        _ => None,
    }
}

/// Where the output is just now: it may have been moved before a death.
fn output(work: &WorkDir) -> PathBuf {
    match work.has(UNFINISHED) {
        true => work.path(UNFINISHED),
        false => work.path(OUTPUT),
    }
}

#[derive(Serialize)]
struct ManifestEntry {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Moves the output to its place and writes down what it consists of, checkpoints aside.
pub(super) fn keep(work: &WorkDir) -> io::Result<()> {
    let mut entries = Vec::new();
    let from = output(work);
    list(&from, &from, &mut entries)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    write_whole(&work.path("manifest.json"), &serde_json::to_vec_pretty(&entries)?)?;
    if from == work.path(UNFINISHED) {
        work.remove(OUTPUT)?;
        fs::rename(from, work.path(OUTPUT))?;
        File::open(work.root())?.sync_all()?;
    }
    Ok(())
}

fn list(root: &Path, folder: &Path, entries: &mut Vec<ManifestEntry>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_checkpoint = entry.file_name().to_string_lossy().starts_with("checkpoint-");
        if kind.is_dir() && !is_checkpoint {
            list(root, &path, entries)?;
        } else if kind.is_file() {
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            let (bytes, sha256) = digest(&path)?;
            entries.push(ManifestEntry {
                path: name,
                bytes,
                sha256,
            });
        }
    }
    Ok(())
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let (mut file, mut digest, mut chunk) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    let mut bytes = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok((bytes, hex(&digest.finalize()))),
            read => {
                bytes += read as u64;
                digest.update(&chunk[..read]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trainer_that_ended_halfway_is_told_from_one_whose_last_line_is_old() {
        let of = |step, total_steps, epoch| TrainingProgress {
            step,
            total_steps,
            epoch,
            ..TrainingProgress::default()
        };
        assert_eq!(
            short_of(&of(None, None, Some(1.5)), Some(2000.0)).as_deref(),
            Some("at epoch 1.5 of 2000")
        );
        assert_eq!(
            short_of(&of(Some(3), Some(8), None), None).as_deref(),
            Some("at step 3 of 8")
        );
        assert_eq!(short_of(&of(Some(95), Some(100), Some(2.85)), Some(3.0)), None);
        assert_eq!(short_of(&of(None, None, None), Some(3.0)), None);
    }
}
