//! The `upload` command of a trainer: brings the model to where it is served.

use super::result::ResultFile;
use crate::finetune::command::process::environment::{arguments, variables};
use crate::finetune::command::process::short_command;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::WorkDir;
use std::fs;
use std::time::Duration;
use tracing::warn;

/// How long `upload` may take: enough for a large model over a slow connection.
const TIMEOUT: Duration = Duration::from_secs(12 * 3600);

/// Runs `upload`. Its last line is the location of the model, or a [`ResultFile`] as JSON.
pub(super) async fn upload(trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<ResultFile, String> {
    let argv = arguments(&trainer.upload, values);
    let ended = short_command::run(&argv, variables(trainer, values), work.root(), TIMEOUT).await;
    let ended = ended.map_err(|error| format!("uploading it failed: {error}"))?;
    let log = format!("{}\n{}", ended.stdout, ended.stderr);
    if let Err(error) = fs::write(work.path("upload.log"), log) {
        warn!(%error, "cannot write upload.log");
    }
    match ended.code {
        Some(0) => {}
        Some(code) => {
            return Err(format!(
                "uploading it failed with exit code {code}: {}",
                ended.message()
            ));
        }
        None => return Err(format!("a signal ended its upload: {}", ended.message())),
    }
    let Some(line) = ended.last_line() else {
        return Ok(ResultFile::default());
    };
    Ok(serde_json::from_str(line).unwrap_or_else(|_| ResultFile {
        artefact: Some(line.to_owned()),
        ..ResultFile::default()
    }))
}
