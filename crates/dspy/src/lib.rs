//! DSPy's signatures, adapters, metrics and declarative programs, without I/O.
//!
//! Prompts, request bodies, parsed answers, scores and saved states equal those of DSPy 3.4.1, byte for byte.
//!
//! # Contents
//!
//! - [`signature`]: the typed fields and the instructions of a predictor, named types, JSON schemas, and the coercion
//!   of answers to types.
//! - [`adapter`]: writes prompts from signatures and values, and parses answers, as DSPy's chat, JSON and XML adapters.
//! - [`lm`]: the arguments of `dspy.LM`, the body of a chat-completions request, and token counts.
//! - [`program`]: predictors that pass values to each other, run as a state machine, and the saved state of a program.
//! - [`metric`]: the score of a prediction, and the threshold for a training example.
//!
//! Values are those of the crate `bsft_pycompat`, and a [`Record`](bsft_pycompat::value::Record) names them.
//!
//! # Where to start
//!
//! - To run a program: describe it as a [`program::ProgramSpec`], build a [`program::Program`], and call
//!   [`start`](program::Program::start). The module [`program`] has a complete example.
//! - To write one prompt or to parse one answer: parse a [`signature::Signature`] and use an [`adapter::Adapter`].
//! - To score a prediction: create a [`metric::Metric`].
//! - To save a trained program for `program.load` in Python: call [`program::saved_state`].
//!
//! # Limits
//!
//! The crate does no I/O, reads no clock and no environment, and has no async code. It sends no request: a program
//! yields each request as a [`program::Step`], and the caller sends it, retries it and measures time.

#![warn(missing_docs)]

pub mod adapter;
pub mod lm;
pub mod metric;
pub mod program;
pub mod signature;
