//! The run's context: what every phase uses and no phase changes.

use super::configuration::{Backends, Coordinator};
use super::leadership::Leadership;
use crate::task::RunId;

/// One run of a coordinator.
#[derive(Clone, Copy)]
pub(super) struct RunContext<'a> {
    pub(super) id: &'a RunId,
    pub(super) coordinator: &'a Coordinator,
    pub(super) leadership: &'a Leadership,
}

impl<'a> RunContext<'a> {
    pub(super) fn backends(&self) -> &'a Backends {
        &self.coordinator.backends
    }
}
