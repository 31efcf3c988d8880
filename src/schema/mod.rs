//! The files that users write: documents with line numbers, read by definitions from which the reference is made.

pub mod document;
mod problem;
mod section;

pub use problem::{Problem, Problems};
pub(crate) use section::{Item, Place, Section, nearest};
