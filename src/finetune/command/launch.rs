//! Starting a trainer so that it outlives us and cannot be started twice.

use super::config::Trainer;
use super::environment::{arguments, of_attempt};
use super::procfs;
use super::workdir::{PreparedTraining, TrainerProcess, WorkDir, WorkLock};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::{Child, Command};

/// What runs the trainer. Its own text is fixed; the trainer's arguments are never parsed. Standard input is the lock on the folder,
/// which trainer and wrapper keep open: it is held until the last of them is gone. The exit code takes its place in one step.
const WRAPPER: &str = r#"exec 9<&0 </dev/null
echo $$ > pid.tmp && mv pid.tmp pid || exit 125
"$@"
code=$?
echo $code > exit_code.tmp && mv exit_code.tmp exit_code
"#;

/// Where the trainer writes while it is not known whether it will end well.
pub(super) const UNFINISHED: &str = "unfinished";

/// Starts the next attempt. The trainer shares the lock.
///
/// Blocks for moments; a runtime has to be there.
pub(super) fn launch(
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
    crate::run_dir::write_whole(&work.path("definition"), trainer.definition.as_bytes())?;
    // From here on it counts as started.
    crate::run_dir::write_whole(&work.path("attempts"), attempt.to_string().as_bytes())?;
    let log = |name: &str| File::options().create(true).append(true).open(work.path(name));
    let (out, err) = (log("stdout.log")?, log("stderr.log")?);
    let child = Command::new("/bin/sh")
        .args(["-c", WRAPPER, "bsft-trainer"])
        .args(arguments(&trainer.argv, &values))
        .env_clear()
        .envs(of_attempt(trainer, &values, attempt))
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

/// Writes what the trainer reads beside the rows. A line without a value for its placeholder is left out.
fn write_files(trainer: &Trainer, work: &WorkDir, values: &super::values::Values) -> io::Result<()> {
    work.write_json("hyperparams.json", &values.hyperparams())?;
    for (name, lines) in &trainer.files {
        let mut file = File::create(work.path(name))?;
        for line in lines {
            let filled = line.fill(|slot| values.get(slot).map(super::template::json));
            file.write_all(filled.unwrap_or_default().as_bytes())?;
        }
        file.sync_all()?;
    }
    Ok(())
}

/// The checkpoint with the most steps that was written to its end.
fn newest_checkpoint(output: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(output).ok()?.flatten();
    let steps = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let step: u64 = name.strip_prefix("checkpoint-")?.parse().ok()?;
        // Written last; read, because a death may have left half of it.
        let state = fs::read(entry.path().join("trainer_state.json")).ok()?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&state).ok()?;
        Some((step, entry.path()))
    });
    steps.max().map(|(_, path)| path)
}
