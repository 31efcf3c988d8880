//! Python's own behaviours that DSPy leans on: text, floats, `repr`, JSON, literals, JSON repair and `random`.

pub mod equal;
pub mod float;
pub mod json;
pub mod literal;
pub mod random;
pub mod repair;
pub mod repr;
pub mod text;

#[cfg(test)]
mod vectors;
