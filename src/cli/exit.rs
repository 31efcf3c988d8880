//! Exit codes, for scripts.

use std::process::{ExitCode, Termination};

/// The exit code of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Done,
    /// The job failed, or an LM server refuses the key, the quota or the model; the message names the remedy.
    Failed,
    /// Bad usage, or a bad job file.
    Usage,
    /// Interrupted, or the quota of the day is used up; the same command resumes the run.
    Interrupted,
    /// A service (broker, store, LM server) cannot be reached; the same command resumes the run.
    Unavailable,
    /// A bug in bsft.
    Bug,
}

impl Exit {
    /// The number that the process returns.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 3,
            Exit::Unavailable => 4,
            Exit::Bug => 70,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
