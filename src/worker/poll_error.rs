//! Why a poll of a training failed.

use crate::broker::BrokerError;
use crate::finetune::ProviderError;
use crate::store::StoreError;

/// Why a tick did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}
