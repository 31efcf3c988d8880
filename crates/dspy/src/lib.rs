//! DSPy's signatures, adapters, metrics and declarative programs, without I/O.

#![warn(missing_docs)]

pub mod adapter;
pub mod lm;
pub mod metric;
pub mod program;
pub mod signature;
