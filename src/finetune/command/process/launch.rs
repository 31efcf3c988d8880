//! Starts a trainer so that it outlives the worker and cannot be started twice.

use super::environment::{arguments, attempt_variables};
use crate::finetune::command::procfs;
use crate::finetune::command::template::json;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::{PreparedTraining, TrainerProcess, UNFINISHED, WorkDir, WorkLock};
use crate::run_dir::write_whole;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The shell script that runs the trainer. Its text is fixed and the trainer's arguments are never parsed. Standard input is the lock
/// on the folder, which wrapper and trainer keep open, so the lock is held until both have exited. `exit_code` is written atomically.
const WRAPPER: &str = r#"exec 9<&0 </dev/null
echo $$ > pid.tmp && mv pid.tmp pid || exit 125
"$@"
code=$?
echo $code > exit_code.tmp && mv exit_code.tmp exit_code
"#;

/// Starts the next attempt, which inherits the lock.
///
/// Blocks briefly; must be called within a Tokio runtime.
pub(crate) fn launch(
    trainer: &Trainer,
    work: &WorkDir,
    prepared: &PreparedTraining,
    lock: &WorkLock,
) -> io::Result<Child> {
    let attempt = work.attempts() + 1;
    for old in ["pid", "proc.json", "exit_code", "result.json"] {
        work.remove(old)?;
    }
    let output = work.path(UNFINISHED);
    let resume = newest_checkpoint(&output).filter(|_| attempt > 1);
    if resume.is_none() {
        work.remove(UNFINISHED)?;
    }
    fs::create_dir_all(&output)?;
    let mut values = prepared.values.clone();
    values.set("output_dir", output.to_string_lossy());
    if let Some(resume) = &resume {
        values.set("resume_dir", resume.to_string_lossy());
    }
    write_files(trainer, work, &values)?;
    write_whole(&work.path("definition"), trainer.definition.as_bytes())?;
    // From here on the attempt counts as started.
    write_whole(&work.path("attempts"), attempt.to_string().as_bytes())?;
    let log = |name: &str| File::options().create(true).append(true).open(work.path(name));
    let (out, err) = (log("stdout.log")?, log("stderr.log")?);
    let child = Command::new("/bin/sh")
        .args(["-c", WRAPPER, "bsft-trainer"])
        .args(arguments(&trainer.argv, &values))
        .env_clear()
        .envs(attempt_variables(trainer, &values, attempt))
        .current_dir(work.root())
        .stdin(Stdio::from(lock.0.try_clone()?))
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        .process_group(0)
        .spawn()?;
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let proc = TrainerProcess {
            pid,
            start_ticks: procfs::start_ticks(pid),
            boot_id: procfs::boot_id(),
            host: procfs::host(),
            grace_ms: u64::try_from(trainer.grace.as_millis()).unwrap_or(u64::MAX),
        };
        work.write_json("proc.json", &proc)?;
    }
    Ok(child)
}

/// Writes the files that the trainer reads beside its rows. A line with a placeholder that has no value is omitted.
fn write_files(trainer: &Trainer, work: &WorkDir, values: &Values) -> io::Result<()> {
    work.write_json("hyperparams.json", &values.hyperparams())?;
    for (name, lines) in &trainer.files {
        let mut file = File::create(work.path(name))?;
        for line in lines {
            let filled = line.fill(|slot| values.get(slot).map(json));
            file.write_all(filled.unwrap_or_default().as_bytes())?;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// The complete checkpoint with the most steps.
fn newest_checkpoint(output: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(output).ok()?.flatten();
    let steps = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let step: u64 = name.strip_prefix("checkpoint-")?.parse().ok()?;
        // The trainer writes this file last. It is parsed because a crash may have left half of it.
        let state = fs::read(entry.path().join("trainer_state.json")).ok()?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&state).ok()?;
        Some((step, entry.path()))
    });
    steps.max().map(|(_, path)| path)
}
