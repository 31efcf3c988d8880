//! What goes on beside the polls: trainings that are being finished or stopped. One task a training, and none is forgotten.

use super::workdir::WorkDir;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Child;
use tokio::task::JoinHandle;

/// How often a task that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The tasks of a worker, by the folder of the training.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: Mutex<HashMap<PathBuf, JoinHandle<io::Result<()>>>>,
}

impl Tasks {
    fn handles(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, JoinHandle<io::Result<()>>>> {
        // Nothing is left half done by a panic under this lock.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the task unless one is running for that training. An error: the last one ended so; the next call starts anew.
    pub(super) async fn ensure<F>(&self, work: &WorkDir, task: impl FnOnce() -> F) -> io::Result<()>
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let ended = {
            let mut running = self.handles();
            match running.get(work.root()).map(JoinHandle::is_finished) {
                Some(false) => None,
                Some(true) => running.remove(work.root()),
                None => {
                    running.insert(work.root().to_owned(), tokio::spawn(task()));
                    None
                }
            }
        };
        match ended {
            Some(ended) => ended.await.unwrap_or_else(|panic| Err(io::Error::other(panic))),
            None => Ok(()),
        }
    }

    /// Ends the training's task where it is.
    pub(super) async fn abort(&self, work: &WorkDir) {
        let running = self.handles().remove(work.root());
        if let Some(running) = running {
            running.abort();
            // What it held is free when this is back.
            let _ = running.await;
        }
    }

    /// Waits for the training's task.
    pub(super) async fn ended(&self, work: &WorkDir) -> io::Result<()> {
        loop {
            let ended = {
                let mut running = self.handles();
                match running.get(work.root()).map(JoinHandle::is_finished) {
                    None => return Ok(()),
                    Some(true) => running.remove(work.root()),
                    Some(false) => None,
                }
            };
            match ended {
                Some(ended) => return ended.await.unwrap_or_else(|panic| Err(io::Error::other(panic))),
                None => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Takes note of a child's end, so that the kernel can forget it. How a trainer ended is read from its folder.
    pub(super) fn reap(&self, mut child: Child) {
        tokio::spawn(async move { child.wait().await.map(drop) });
    }
}
