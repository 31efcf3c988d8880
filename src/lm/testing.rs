//! Shared by the tests of LM clients and gates: settings of an LM, and an adapter for requests whose answers are not parsed.

use super::LmSettings;
use crate::adapter::{Adapter, FormatError, Message, ParseFailure};
use crate::signature::Signature;
use crate::value::Record;

/// The LM `teacher` with the model `openai/m` at the address `base`, and defaults for the rest.
pub(crate) fn settings(base: &str) -> LmSettings {
    LmSettings {
        api_base: Some(base.to_owned()),
        ..LmSettings::new("teacher", "openai/m")
    }
}

/// An adapter that formats and parses nothing.
#[derive(Debug)]
pub(crate) struct NoAdapter;

impl Adapter for NoAdapter {
    fn prelude(&self, _: &Signature, _: &[Record]) -> Result<Vec<Message>, FormatError> {
        Ok(Vec::new())
    }
    fn user(&self, _: &Signature, _: &Record) -> Result<String, FormatError> {
        Ok(String::new())
    }
    fn assistant(&self, _: &Signature, _: &Record) -> Result<String, FormatError> {
        Ok(String::new())
    }
    fn parse(&self, _: &Signature, _: &str) -> Result<Record, ParseFailure> {
        Ok(Record::new())
    }
}
