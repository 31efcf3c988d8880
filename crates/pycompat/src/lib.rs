//! The Python behaviour that DSPy depends on: text, floats, `repr`, JSON, literals, JSON repair and `random`.
//!
//! Each function returns what CPython 3.11, or the Python package that its documentation names, returns for the same
//! input, byte for byte. The tests compare the functions with recorded output of Python.
//!
//! # Contents
//!
//! - [`value`]: the Python value that the other modules take and return. It distinguishes a tuple from a list and `1`
//!   from `1.0`, and its integers have no limit.
//! - [`items`]: the items of a list, tuple or set.
//! - [`json`]: the functions `json.loads` and `json.dumps`, `orjson.dumps`, and conversions from and to `serde_json`.
//! - [`literal`]: the function `ast.literal_eval`.
//! - [`repair`]: the function `json_repair.loads`, which reads the broken JSON that LMs write.
//! - [`repr`](mod@repr): the functions `repr` and `str`.
//! - [`float`]: floats as text, in Python's and in orjson's format.
//! - [`text`]: the methods of `str` that differ from Rust's, and the character classes of Unicode 14.
//! - [`equal`]: the operator `==`, and the order of dict items and set members.
//! - [`random`]: the class `random.Random` with an integer seed, and its `shuffle`.
//!
//! # Where to start
//!
//! Read [`value::Value`], then the function that you need. Most callers parse a text and write the value again:
//!
//! ```
//! use bsft_pycompat::{json, literal, repr};
//!
//! let value = literal::eval("('a', 1.0, None)")?;
//! assert_eq!(repr::repr(&value), "('a', 1.0, None)");
//! assert_eq!(json::dumps(&value), r#"["a", 1.0, null]"#);
//! # Ok::<(), literal::LiteralError>(())
//! ```
//!
//! # Limits
//!
//! The crate does no I/O, reads no clock and no environment, and has no async code and no global state. It runs no
//! Python code: `literal` reads data only. Rust strings contain no lone surrogates, so U+FFFD replaces them.

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
