//! Where a long value of the embedded store is.

/// A long value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LongValue {
    pub(super) number: u64,
    /// Its length in bytes.
    pub(super) len: u64,
}
