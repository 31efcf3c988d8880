//! Announces to the coordinator that a training task has an outcome.

use super::WorkerContext;
use crate::broker::{BrokerError, Queue};
use crate::message::{Completion, MESSAGE_VERSION, encode};
use crate::task::{RunId, TaskId};

/// Sends the run's coordinator a completion, upon which it looks into the store.
pub(super) async fn announce(context: &WorkerContext, run: &RunId, task: TaskId) -> Result<(), BrokerError> {
    let completion = Completion {
        v: MESSAGE_VERSION,
        run: run.clone(),
        task,
    };
    context
        .broker
        .publish(&Queue::Completions(run.clone()), vec![encode(&completion)])
        .await
}
