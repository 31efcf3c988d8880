//! A depot that holds on.

use super::{Depot, DepotError};
use crate::finetune::TrainingFile;
use crate::metrics::Waits;
use crate::patience::{Passing, Patience};
use crate::shutdown::Shutdown;
use crate::task::RunId;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;

/// Another depot, every call to which is repeated until it has an answer or the process is to stop at once.
pub struct PatientDepot {
    depot: Arc<dyn Depot>,
    patience: Patience,
}

impl PatientDepot {
    /// Holds on for that depot until `shutdown` asks to stop at once; calls that have to be repeated are counted.
    pub fn new(depot: Arc<dyn Depot>, shutdown: Shutdown, waits: Waits) -> PatientDepot {
        PatientDepot {
            depot,
            patience: Patience::new(shutdown, waits),
        }
    }
}

impl Passing for DepotError {
    fn passes(&self) -> bool {
        match self {
            DepotError::Store(error) => error.passes(),
            DepotError::Missing(_) | DepotError::File { .. } => false,
        }
    }

    fn wants_hands(&self) -> bool {
        matches!(self, DepotError::Store(error) if error.wants_hands())
    }
}

#[async_trait]
impl Depot for PatientDepot {
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), DepotError> {
        self.patience.insist(|| self.depot.put(run, file, path)).await
    }

    async fn has(&self, run: &RunId, file: &TrainingFile) -> Result<bool, DepotError> {
        self.patience.insist(|| self.depot.has(run, file)).await
    }

    async fn fetch(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), DepotError> {
        self.patience.insist(|| self.depot.fetch(run, file, to)).await
    }

    async fn remove(&self, run: &RunId, file: &TrainingFile) -> Result<(), DepotError> {
        self.patience.insist(|| self.depot.remove(run, file)).await
    }
}
