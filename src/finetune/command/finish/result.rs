//! Checks the result of a trainer. Exit code 0 is not enough: trainers also return it after they were stopped.

use crate::finetune::TrainingProgress;
use crate::finetune::command::process::environment::without_secrets;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::progress;
use crate::finetune::command::work_dir::{UNFINISHED, WorkDir};
use crate::hex::hex;
use crate::run_dir::write_whole;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// The output folder of a training whose result is valid.
pub(super) const OUTPUT: &str = "output";

/// The fraction of the requested epochs or steps that a finished trainer must have reported. Its last line may be some steps old.
const MIN_COMPLETED: f64 = 0.9;

/// How many bytes of a log an error message contains.
const MAX_LOG_BYTES: u64 = 4096;

/// The content of `{result_file}`, written by the trainer or by `upload`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ResultFile {
    /// The model, as DSPy's `LM(model=…)` takes it.
    pub(super) model: Option<String>,
    /// The location of the model. `None` if it is in the output folder.
    #[serde(alias = "artifact")]
    pub(super) artefact: Option<String>,
    /// The address of the server that serves it.
    pub(super) api_base: Option<String>,
    /// The number of tokens trained on.
    #[serde(alias = "trained_tokens")]
    pub(super) tokens: Option<u64>,
}

/// Reads `{result_file}`; a missing file is empty. Fails when it cannot be parsed.
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

/// The error message for an exit code other than 0: its meaning, the end of the trainer's log and the folder of its logs.
pub(super) fn failure(trainer: &Trainer, work: &WorkDir, code: i32) -> String {
    let what = match code {
        124 => "exit code 124: a time limit of its own".to_owned(),
        125 => "exit code 125: it could not be started".to_owned(),
        126 => "exit code 126: the command is not executable".to_owned(),
        127 => "exit code 127: the command was not found".to_owned(),
        137 => "it was killed (137): most often there was too little memory".to_owned(),
        143 => "another process stopped it (143)".to_owned(),
        code if code > 128 => format!("signal {} ended it ({code})", code - 128),
        code => format!("exit code {code}"),
    };
    let read = |name| progress::tail(&work.path(name), MAX_LOG_BYTES).unwrap_or_default();
    let mut log = read("stderr.log");
    if log.trim().is_empty() {
        log = read("stdout.log");
    }
    let log = without_secrets(trainer, log.replace('\r', "\n"));
    format!(
        "the trainer failed: {what}; its logs are in {}\n{}",
        work.root().display(),
        log.trim()
    )
}

/// Checks that a trainer with exit code 0 has left a valid result. The error describes what is missing.
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
    let reported = result_file(work)?;
    let any_of = &trainer.result.any_of;
    let output = output(work);
    if any_of.is_empty() && reported.model.is_none() {
        return Err(format!(
            "the trainer succeeded but named no model in {at}/result.json"
        ));
    }
    if !any_of.is_empty() && !any_of.iter().any(|name| is_new(&output.join(name))) {
        let names = any_of.join(", ");
        return Err(format!(
            "the trainer succeeded but left none of {names} in {}",
            output.display()
        ));
    }
    let progress = progress::read(&trainer.progress, work, values);
    match short_of(&progress, values.epochs()).filter(|_| !trainer.result.may_stop_early) {
        Some(short) => Err(format!(
            "the trainer succeeded but stopped early, {short}; its logs are in {at}"
        )),
        None => Ok(()),
    }
}

/// The last reported step or epoch of a training that stopped early. `None` if it completed.
fn short_of(progress: &TrainingProgress, epochs: Option<f64>) -> Option<String> {
    let too_few = |made: f64, wanted: f64| made < wanted * MIN_COMPLETED;
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

/// The current output folder. A worker that crashed may have moved it already.
fn output(work: &WorkDir) -> PathBuf {
    work.path(if work.has(UNFINISHED) { UNFINISHED } else { OUTPUT })
}

#[derive(Serialize)]
struct ManifestEntry {
    path: String,
    bytes: u64,
    sha256: String,
}

/// Writes `manifest.json`, the list of output files without checkpoints, and moves the output to its final folder.
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
    fn short_of_tolerates_an_old_last_line() {
        let at = |step, total_steps, epoch| TrainingProgress {
            step,
            total_steps,
            epoch,
            ..TrainingProgress::default()
        };
        assert_eq!(
            short_of(&at(None, None, Some(1.5)), Some(2000.0)).as_deref(),
            Some("at epoch 1.5 of 2000")
        );
        assert_eq!(
            short_of(&at(Some(3), Some(8), None), None).as_deref(),
            Some("at step 3 of 8")
        );
        assert_eq!(short_of(&at(Some(95), Some(100), Some(2.85)), Some(3.0)), None);
        assert_eq!(short_of(&at(None, None, None), Some(3.0)), None);
    }
}
