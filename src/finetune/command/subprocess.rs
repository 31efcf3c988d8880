//! Commands beside the trainer, such as `measure` and `upload`: run to their end, within a time, in a group of their own that dies with us.

use super::procfs;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// How much of a command's stdout is kept, from its end: the lengths of tens of millions of rows.
const KEPT_OUT: usize = 256 << 20;

/// How much of a command's stderr is kept, from its end.
pub(super) const KEPT_ERR: usize = 4096;

/// How a command ended.
#[derive(Debug)]
pub(super) struct CommandOutput {
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// None: a signal.
    pub(super) code: Option<i32>,
}

impl CommandOutput {
    /// The last line of stdout with something on it.
    pub(super) fn last_line(&self) -> Option<&str> {
        self.stdout
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
    }

    /// What it said last, on stderr or else on stdout.
    pub(super) fn last_words(&self) -> &str {
        match self.stderr.trim() {
            "" => self.last_line().unwrap_or("it said nothing"),
            words => words,
        }
    }
}

/// Ends the group when it is dropped: a command does not outlive who waits for it.
struct KillOnDrop(i32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        procfs::signal_group(self.0, Signal::KILL);
    }
}

/// Runs it. An error: it cannot be run, or took longer than `limit`.
///
/// Cancel-safe in that the command is killed.
pub(super) async fn run(
    argv: &[String],
    variables: Vec<(OsString, OsString)>,
    folder: &Path,
    limit: Duration,
) -> io::Result<CommandOutput> {
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the command is empty",
        ));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    let _group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(KillOnDrop);
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = async {
        let (stdout, stderr, status) = tokio::join!(tail(out, KEPT_OUT), tail(err, KEPT_ERR), child.wait());
        Ok(CommandOutput {
            stdout: stdout?,
            stderr: stderr?,
            code: status?.code(),
        })
    };
    tokio::time::timeout(limit, ended).await.unwrap_or_else(|_| {
        let text = format!("{program} did not end within {} s", limit.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// Reads to the end and keeps the last bytes.
async fn tail(source: Option<impl AsyncRead + Unpin>, kept: usize) -> io::Result<String> {
    let (mut bytes, mut chunk) = (VecDeque::new(), vec![0; 64 << 10]);
    let Some(mut source) = source else {
        return Ok(String::new());
    };
    loop {
        let read = source.read(&mut chunk).await?;
        if read == 0 {
            let bytes: Vec<u8> = bytes.into();
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend(&chunk[..read]);
        let over = bytes.len().saturating_sub(kept);
        bytes.drain(..over);
    }
}
