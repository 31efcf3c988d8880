//! All tests that start processes or servers, as one program: it is linked once.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

mod cli;
mod conformance;
mod faults;
mod limits;
mod support;
