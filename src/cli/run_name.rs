//! Which run a command means: by its directory, by its name, or on RabbitMQ and Redis by its id.

use super::exit::Exit;
use super::ui;
use crate::report::Manifest;
use crate::task::RunId;
use std::path::{Path, PathBuf};

/// The folder of run directories unless `--out` names another one.
pub(super) const RUNS: &str = "runs";

/// A run directory and its manifest.
pub(super) struct FoundRun {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
}

/// The run directory that `run` names: itself, or the one of that name in `./runs`. `None` if neither holds a run. An error has been
/// printed.
pub(super) fn in_folders(run: &Path) -> Result<Option<FoundRun>, Exit> {
    match in_folder(run.to_owned())? {
        Some(found) => Ok(Some(found)),
        None => in_folder(Path::new(RUNS).join(run)),
    }
}

/// The run of a directory; `None` if it holds none. An error has been printed.
pub(super) fn in_folder(dir: PathBuf) -> Result<Option<FoundRun>, Exit> {
    let manifest = Manifest::read(&dir.join("run.json")).map_err(|error| {
        ui::error(format_args!("{}: {error}", dir.display()));
        Exit::Failed
    })?;
    Ok(manifest.map(|manifest| FoundRun { dir, manifest }))
}

/// Prints that `run` names no run directory.
pub(super) fn no_folder(run: &Path) -> Exit {
    ui::error(format_args!(
        "{} holds no run: it has no run.json; for a run on RabbitMQ and Redis give its id and both URLs",
        run.display()
    ));
    Exit::Usage
}

/// The runs with that id or that name, of all that were reported. Reports of another version have an id only.
pub(super) fn in_reports(run: &str, reports: &[(RunId, Vec<u8>)]) -> Vec<RunId> {
    let is_named = |(id, report): &&(RunId, Vec<u8>)| {
        id.0 == run || serde_json::from_slice::<Manifest>(report).is_ok_and(|manifest| manifest.name == run)
    };
    reports
        .iter()
        .filter(is_named)
        .map(|(id, _)| id.clone())
        .collect()
}

/// The only run with that id or name, if there is one. Several have been printed as an error.
pub(super) fn only_one(run: &str, reports: &[(RunId, Vec<u8>)]) -> Result<Option<RunId>, Exit> {
    let mut found = in_reports(run, reports);
    if found.len() > 1 {
        let ids: Vec<&str> = found.iter().map(|id| id.0.as_str()).collect();
        ui::error(format_args!(
            "{} runs have the name {run}; give the id of one: {}",
            ids.len(),
            ids.join(", ")
        ));
        return Err(Exit::Usage);
    }
    Ok(found.pop())
}
