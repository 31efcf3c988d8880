//! What the caller of a backend does about an error: try again, drop the work, or stop.

/// What the caller does about an error of the broker, the store or the artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAction {
    /// Do it again after a delay.
    Retry,
    /// Drop this piece of work: another process has it or will get it.
    Discard,
    /// Stop the process with the reason: a person has to act.
    Halt,
}
