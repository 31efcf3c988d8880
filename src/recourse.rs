//! What an error of a backend asks of its caller.

/// What to do about an error of the broker, the store or the artifacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recourse {
    /// Do it again after a delay.
    Retry,
    /// Let this piece of work go: somebody else has it or will get it.
    Discard,
    /// Stop the process and say why: a human has to act.
    Halt,
}
