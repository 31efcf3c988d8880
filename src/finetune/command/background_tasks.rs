//! Background tasks of a worker, which finish or stop trainings between polls: at most one per training, and each is awaited.

use crate::lock::lock;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tokio::process::Child;
use tokio::task::JoinHandle;

/// How often an awaited task is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The tasks of a worker, by the folder of the training.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: Mutex<HashMap<PathBuf, JoinHandle<io::Result<()>>>>,
}

impl Tasks {
    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, JoinHandle<io::Result<()>>>> {
        // A panic under this lock leaves the map consistent.
        lock(&self.running)
    }

    /// Starts the task unless one is running for that folder. Returns the error of the previous task; the next call starts a new one.
    pub(super) async fn ensure<F>(&self, folder: &Path, task: impl FnOnce() -> F) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let ended = {
            let mut running = self.handles();
            match running.get(folder).map(JoinHandle::is_finished) {
                Some(false) => None,
                Some(true) => running.remove(folder),
                None => {
                    running.insert(folder.to_owned(), tokio::spawn(task()));
                    None
                }
            }
        };
        match ended {
            Some(ended) => ended.await.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            None => Ok(()),
        }
    }

    /// Aborts the task of that folder.
    pub(super) async fn abort(&self, folder: &Path) {
        let running = self.handles().remove(folder);
        if let Some(running) = running {
            running.abort();
            // Its locks are released when this returns.
            let _ = running.await;
        }
    }

    /// Waits for the task of that folder and returns its result.
    pub(super) async fn ended(&self, folder: &Path) -> io::Result<()> {
        loop {
            let ended = {
                let mut running = self.handles();
                match running.get(folder).map(JoinHandle::is_finished) {
                    None => return Ok(()),
                    Some(true) => running.remove(folder),
                    Some(false) => None,
                }
            };
            match ended {
                Some(ended) => return ended.await.unwrap_or_else(|panic| Err(io::Error::other(panic))),
                None => tokio::time::sleep(CHECK_INTERVAL).await,
            }
        }
    }

    /// Reaps a child process when it exits. How a trainer ended is read from its folder.
    pub(super) fn reap(&self, mut child: Child) {
        tokio::spawn(async move { child.wait().await.map(drop) });
    }
}

/// Runs blocking work on Tokio's blocking threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|gone| Err(io::Error::other(gone)))
}
