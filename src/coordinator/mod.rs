//! The coordinator: a job in, a compiled student out, in five phases each of which consumes the one before.
//!
//! Prepared, Bootstrapped, Collected, Trained, Compiled: each is rebuilt from DIR and the store on start, so resuming is running.

mod bootstrap;
mod collect;
mod compile;
mod error;
mod ledger;
mod prepare;
mod train;

pub use error::RunError;
pub use ledger::LedgerError;

use crate::job::Job;
use crate::queue::Queue;
use crate::report::{Manifest, Progress};
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::Store;
use std::sync::Arc;

/// What the coordinator works with.
pub struct Coordinator {
    /// Where tasks go.
    pub queue: Arc<dyn Queue>,
    /// Where outcomes come from.
    pub store: Arc<dyn Store>,
    /// The run's folder.
    pub dir: RunDir,
    /// Heard between any two steps.
    pub shutdown: Shutdown,
    /// Told how far things are.
    pub progress: Progress,
    /// Tasks that the workers at hand have in flight at once; the window is never smaller than twice that.
    pub in_flight: usize,
    /// Whether every LM and provider was swapped for a simulated one.
    pub rehearsal: bool,
}

/// Compiles a job; what an earlier run of it has done is not done again.
pub async fn run(coordinator: &Coordinator, job: Job) -> Result<Manifest, RunError> {
    let prepared = prepare::prepare(coordinator, job).await?;
    let bootstrapped = bootstrap::bootstrap(coordinator, prepared).await?;
    let collected = collect::collect(coordinator, bootstrapped).await?;
    let trained = train::train(coordinator, collected).await?;
    compile::compile(coordinator, trained)
}
