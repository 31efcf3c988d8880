//! Short commands beside the trainer, such as `check`, `measure` and `upload`. Each runs in its own process group, with a time limit,
//! and is killed with its worker.

use crate::finetune::command::procfs;
use rustix::process::Signal;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// How many bytes of stdout are kept, from its end: enough for the lengths of tens of millions of rows.
const MAX_STDOUT: usize = 256 << 20;

/// How many bytes of stderr are kept, from its end.
const MAX_STDERR: usize = 4096;

/// The output and exit code of a command.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
}

impl CommandOutput {
    /// The last line of stdout that is not blank.
    pub(crate) fn last_line(&self) -> Option<&str> {
        self.stdout
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
    }

    /// Its error message: stderr, or the last line of stdout.
    pub(crate) fn message(&self) -> &str {
        match self.stderr.trim() {
            "" => self.last_line().unwrap_or("it printed nothing"),
            text => text,
        }
    }
}

/// Kills the process group on drop, so that a command does not outlive its caller.
struct KillOnDrop(i32);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        procfs::signal_group(self.0, Signal::KILL);
    }
}

/// Runs `argv` in `folder`. Fails when the command cannot be started or takes longer than `limit`.
///
/// Cancel-safe: dropping the future kills the command.
pub(crate) async fn run(
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
        let (stdout, stderr, status) =
            tokio::join!(tail(out, MAX_STDOUT), tail(err, MAX_STDERR), child.wait());
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

/// Reads to the end and keeps the last `kept` bytes.
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
