//! Processes of a trainer: how they are started, given their environment, watched and stopped.

pub(super) mod environment;
pub(super) mod launch;
pub(super) mod stop;
pub(super) mod subprocess;
