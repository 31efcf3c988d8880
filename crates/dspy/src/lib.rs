//! DSPy's signatures, adapters and metrics, without I/O.

#![warn(missing_docs)]

pub mod adapter;
pub mod metric;
pub mod signature;
