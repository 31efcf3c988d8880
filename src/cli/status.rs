//! `status`: how far runs are, from their manifests.

use super::exit::{Exit, answer, say};
use crate::report::Manifest;
use std::fs;
use std::path::{Path, PathBuf};

/// `status [RUN]`.
pub(super) fn status(run: Option<&Path>, json: bool) -> Exit {
    let folders = match run {
        Some(run) => vec![run.to_owned()],
        None => runs(),
    };
    let mut manifests = Vec::new();
    for folder in folders {
        match Manifest::read(&folder.join("run.json")) {
            Ok(Some(manifest)) => manifests.push((folder, manifest)),
            Ok(None) if run.is_some() => {
                say(format_args!(
                    "{} holds no run: it has no run.json",
                    folder.display()
                ));
                return Exit::Usage;
            }
            Ok(None) => {}
            Err(error) => {
                say(format_args!("{}: {error}", folder.display()));
                return Exit::Failed;
            }
        }
    }
    if json {
        let manifests: Vec<&Manifest> = manifests.iter().map(|(_, manifest)| manifest).collect();
        answer(serde_json::to_string_pretty(&manifests).expect("manifests are plain data"));
        return Exit::Done;
    }
    for (folder, manifest) in &manifests {
        let tally = &manifest.tally;
        answer(format_args!(
            "{}  {:?}  {} of {} tasks, {} kept, {} failed",
            folder.display(),
            manifest.phase,
            tally.done(),
            manifest.tasks,
            tally.kept,
            tally.failed()
        ));
    }
    Exit::Done
}

/// The folders in `./runs`, in order of their names.
fn runs() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("runs") else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders
}
