//! The Python behaviour that DSPy depends on: text, floats, `repr`, JSON, literals, JSON repair and `random`.

#![warn(missing_docs)]

pub mod equal;
pub mod float;
pub mod json;
pub mod literal;
pub mod random;
pub mod repair;
pub mod repr;
pub mod text;
pub mod value;

#[cfg(test)]
mod vectors;
