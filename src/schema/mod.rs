//! The files that users write: documents with line numbers, read by definitions from which the reference is made.

pub mod document;
mod json_schema;
mod problem;
mod reference;
mod section;
mod table;
mod values;

pub use json_schema::json_schema;
pub use problem::{Problem, Problems};
pub use reference::{explain, reference};
pub(crate) use section::{Item, Place, Section, nearest};
pub use table::{Key, Kind, Presence, Table};
pub(crate) use table::{NOT_YET, table};
pub(crate) use values::Values;
