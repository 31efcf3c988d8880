//! The files that users write: documents with line numbers, read by the definitions that also generate the reference.

pub(crate) mod definition;
pub mod document;
pub(crate) mod form;
pub(crate) mod json_schema;
mod problem;
pub(crate) mod reference;
mod section;
pub(crate) mod table;
pub(crate) mod time_span;

pub use problem::{Problem, Problems};
pub(crate) use section::{Item, Place, Section, near, nearest};
