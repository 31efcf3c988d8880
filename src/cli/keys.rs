//! `--keys FILE`: the API keys that jobs may use, and where each may go.

use super::exit::Exit;
use super::ui;
use crate::key_ring::KeyRing;
use std::path::Path;

/// Whose jobs this process executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobsOf {
    /// Its own: who wrote the job started the process, in an environment of their own.
    This,
    /// Those of everybody who may publish to its queues.
    Others,
}

/// Reads the keys file, if one was given, and warns of keys that go unencrypted to other machines. All problems have been printed when
/// this fails.
pub(super) fn read(path: Option<&Path>, jobs: JobsOf) -> Result<KeyRing, Exit> {
    let ring = match (path, jobs) {
        (Some(path), _) => KeyRing::read(path).map_err(|problems| {
            ui::problem(problems);
            Exit::Usage
        })?,
        (None, JobsOf::This) => KeyRing::of_the_author(),
        (None, JobsOf::Others) => KeyRing::well_known(),
    };
    for place in ring.unencrypted() {
        ui::warn(format_args!(
            "{place} gets the key without encryption; use https, or an address of this machine"
        ));
    }
    Ok(ring)
}
