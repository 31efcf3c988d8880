//! The binaries as processes.

use super::until;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What a process logs when it begins to drain: after a signal, and after a cancellation.
const DRAINS: [&str; 2] = ["finishing the tasks in flight", "run cancelled; draining"];

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; none when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process at work; killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    said: Arc<Mutex<String>>,
}

impl Ended {
    /// Itself, when this was the exit code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Itself; panics unless stderr contains this.
    #[track_caller]
    pub(crate) fn saying(self, words: &str) -> Ended {
        assert!(
            self.stderr.contains(words),
            "{words:?} is not in:\n{}",
            self.stderr
        );
        self
    }
}

/// `bsft` with the given arguments and an environment that the caller's shell does not influence.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_bsft")));
    command.args(arguments);
    command
}

/// The command without the variables of the calling shell, but for those that say where programs and temporary files are: a proxy, a
/// locale, `CI` or an API key change what bsft does.
pub(crate) fn clean(mut command: Command) -> Command {
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    // Tests read the format for people unless they set another.
    command.env("BSFT_LOG_FORMAT", "human");
    command
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let stderr: ChildStderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        Running {
            child,
            stdout: Some(read(stdout)),
            stderr: Some(listen(stderr, Arc::clone(&said))),
            said,
        }
    }

    /// The lines on stderr so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until stderr contains this.
    pub(crate) fn until_said(&self, words: &str) {
        until(&format!("stderr to say {words:?}"), || {
            self.said().contains(words).then_some(())
        });
    }

    /// Waits until it has begun to drain, after a signal or a cancellation.
    pub(crate) fn until_draining(&self) {
        until("the process to drain", || {
            let said = self.said();
            DRAINS.iter().any(|words| said.contains(words)).then_some(())
        });
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL. When this returns the process is dead, and its locks and ports are free for the next one.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal that a process handles, such as `INT`; see [`Running::kill`] for the other one.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status = until("the process to end", || self.child.try_wait().unwrap());
        let text = |reader: &mut Option<JoinHandle<String>>| reader.take().unwrap().join().unwrap();
        Ended {
            code: status.code(),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same for lines that a test reads before the end.
fn listen(from: impl Read + Send + 'static, said: Arc<Mutex<String>>) -> JoinHandle<String> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            let mut said = said.lock().unwrap();
            said.push_str(&line.unwrap());
            said.push('\n');
        }
        said.lock().unwrap().clone()
    })
}

fn read(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}
