//! A process whose output goes to a file, so that it is there however the process ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How bsft ends when it cannot reach a service at its start.
const UNAVAILABLE: i32 = 4;

/// The longest that a start takes, on a machine that does much else.
const START: Duration = Duration::from_secs(120);

/// A process at work; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    started: Instant,
}

impl Process {
    /// Starts it; its output is appended to the file.
    pub(crate) fn start(mut command: Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process {
            child,
            log: log.to_owned(),
            started: Instant::now(),
        }
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success(), "kill -{name} for {}", self.log.display());
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether a process with this status started while a service was away; the caller starts it again.
    pub(crate) fn came_too_early(&self, status: ExitStatus) -> bool {
        status.code() == Some(UNAVAILABLE) && self.started.elapsed() < START
    }

    /// Kills it without a chance to write anything, and sees it gone.
    pub(crate) fn kill_9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
