//! Why a worker puts a delivery off, as a text for the log and as a reason for the metrics.

use super::built_jobs::JobError;
use super::poll_error::PollError;
use crate::finetune::Unavailable;
use crate::message::Refusal;
use crate::metrics::PutOffReason;
use crate::store::StoreError;
use std::fmt::Display;

/// The cause of a delivery that is put off.
pub(super) trait PutOff: Display + Sync {
    fn reason(&self) -> PutOffReason;
}

impl PutOff for Refusal {
    fn reason(&self) -> PutOffReason {
        PutOffReason::OtherVersion
    }
}

impl PutOff for JobError {
    fn reason(&self) -> PutOffReason {
        match self {
            JobError::Unknown(_) => PutOffReason::UnknownRun,
            JobError::OtherVersion { .. } => PutOffReason::OtherVersion,
            JobError::Store(why) => why.reason(),
            JobError::Build { .. } | JobError::Changed(_) => PutOffReason::Job,
            JobError::Connect { .. } => PutOffReason::Lm,
        }
    }
}

impl PutOff for StoreError {
    /// A worker ends with every other failure of the store.
    fn reason(&self) -> PutOffReason {
        PutOffReason::Damaged
    }
}

impl PutOff for Unavailable {
    fn reason(&self) -> PutOffReason {
        PutOffReason::Provider
    }
}

impl PutOff for PollError {
    fn reason(&self) -> PutOffReason {
        match self {
            PollError::Store(why) => why.reason(),
            PollError::Broker(_) | PollError::Provider(_) => PutOffReason::Service,
        }
    }
}

/// The state of a training is unknown, for this reason.
impl PutOff for String {
    fn reason(&self) -> PutOffReason {
        PutOffReason::Training
    }
}
