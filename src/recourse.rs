//! What an error of a backend asks of its caller.

/// What to do about an error of the broker, the store or the artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recourse {
    /// Do it again after a delay.
    Retry,
    /// Drop this piece of work: another process has it or will get it.
    Discard,
    /// Stop the process with the reason: a person has to act.
    Halt,
}
