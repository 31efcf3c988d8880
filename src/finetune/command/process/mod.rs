//! Processes of a trainer: how they are started, given their environment, watched and stopped.

pub(super) mod environment;
pub(super) mod launch;
pub(super) mod short_command;
pub(super) mod stop;
