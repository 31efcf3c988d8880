//! The layers of the sources: which module may use which, and where each third-party crate lives.
//!
//! The rules read the text of `src/`, `bin/` and `crates/*/src`, unit tests left out. `sources` finds the paths that a file
//! uses and the file that defines each of them, `circles` and `rules` hold the rules.

mod circles;
mod paths;
mod rules;
mod sources;
