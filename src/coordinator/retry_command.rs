//! What `retry` runs again, and the command line that does it.

use crate::command_name::command_name;
use crate::run_dir::RunDir;
use std::path::Path;

/// Which recorded failures to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// None of them.
    Nothing,
    /// Failed examples.
    Examples,
    /// Failed trainings.
    Trainings,
}

impl Retry {
    pub(super) fn examples(self) -> bool {
        self == Retry::Examples
    }

    pub(super) fn trainings(self) -> bool {
        self == Retry::Trainings
    }
}

/// The `retry` command line of a run, with the trainers file that this process was started with.
pub(crate) fn retry_command(dir: &RunDir, trainers: Option<&Path>) -> String {
    let mut command = format!("{} retry {}", command_name(), dir.root().display());
    if let Some(trainers) = trainers {
        command.push_str(&format!(" --trainers {}", trainers.display()));
    }
    command
}
