//! The prediction of a program: the outputs of all its calls, merged. It names the calls in place of copies of their outputs.

use super::Call;
use bsft_pycompat::value::Value;

/// Which call gave each field of the prediction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prediction {
    /// Names in the order of their first output, with the index of the call that gave the last one.
    fields: Vec<(String, usize)>,
}

impl Prediction {
    /// Merges an output of the call at this index: it replaces an earlier one of the same name.
    pub fn merge(&mut self, name: &str, call: usize) {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, of)) => *of = call,
            None => self.fields.push((name.to_owned(), call)),
        }
    }

    /// The value of a field; `None` if no call gave it. `calls` are those of the program's run.
    pub fn get<'a>(&self, calls: &'a [Call], name: &str) -> Option<&'a Value> {
        let (_, call) = self.fields.iter().find(|(known, _)| known == name)?;
        calls.get(*call)?.outputs.get(name)
    }

    /// The fields in order, with their values.
    pub fn fields<'a>(&'a self, calls: &'a [Call]) -> impl Iterator<Item = (&'a str, &'a Value)> + 'a {
        let value = |(name, call): &'a (String, usize)| {
            let value = calls.get(*call)?.outputs.get(name)?;
            Some((name.as_str(), value))
        };
        self.fields.iter().filter_map(value)
    }
}
