//! DSPy's mini-language: `text, n: int -> label: Literal['a', 'b']`. Each side is read as the parameter list of a Python function.

use super::tokens::{Token, syntax, tokens};
use super::types::{NamedTypes, Type};
use super::{Field, SignatureError};

/// Names that `dspy.Signature` or its base class already defines.
const RESERVED: [&str; 11] = [
    "signature",
    "instructions",
    "fields",
    "input_fields",
    "output_fields",
    "model_config",
    "model_dump",
    "model_dump_json",
    "model_validate",
    "model_validate_json",
    "model_validate_strings",
];

/// Parameters of a predictor's call, which no input can be named after.
const RESERVED_INPUTS: [&str; 6] = ["completions", "config", "demos", "lm", "new_signature", "self"];

/// Python's keywords, which cannot be field names.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def",
    "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
    "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Parses the input and output fields.
pub(super) fn fields(text: &str, types: &NamedTypes) -> Result<(Vec<Field>, Vec<Field>), SignatureError> {
    let found = text.matches("->").count();
    let Some((inputs, outputs)) = text.split_once("->").filter(|_| found == 1) else {
        return Err(SignatureError::Arrow { found });
    };
    let (inputs, outputs) = (side(inputs, types)?, side(outputs, types)?);
    if let Some(input) = inputs
        .iter()
        .find(|input| RESERVED_INPUTS.contains(&input.name.as_str()))
    {
        let (name, reason) = (
            input.name.clone(),
            "calling a predictor gives that input another meaning",
        );
        return Err(SignatureError::Reserved { name, reason });
    }
    match inputs
        .iter()
        .find(|field| outputs.iter().any(|output| output.name == field.name))
    {
        Some(both) => Err(SignatureError::BothSides(both.name.clone())),
        None => Ok((inputs, outputs)),
    }
}

fn side(text: &str, types: &NamedTypes) -> Result<Vec<Field>, SignatureError> {
    let mut reader = SignatureReader {
        tokens: tokens(text)?,
        at: 0,
        types,
    };
    let mut fields: Vec<Field> = Vec::new();
    let mut defaults = false;
    while !reader.is_done() {
        let (field, has_default) = reader.field()?;
        if defaults && !has_default {
            return Err(reader
                .error("a field without a default behind one that has a default; leave the default out"));
        }
        defaults |= has_default;
        // As in Python's dict of parameters, a repeated name keeps its first position and takes the last annotation.
        match fields.iter_mut().find(|known| known.name == field.name) {
            Some(known) => *known = field,
            None => fields.push(field),
        }
        if !reader.take(',') {
            reader.end()?;
        }
    }
    Ok(fields)
}

/// The tokens of one side, and the current position.
pub(super) struct SignatureReader<'a> {
    pub(super) tokens: Vec<(Token, &'a str)>,
    pub(super) at: usize,
    pub(super) types: &'a NamedTypes,
}

impl SignatureReader<'_> {
    /// Parses a field, and reports whether it has a default.
    fn field(&mut self) -> Result<(Field, bool), SignatureError> {
        let name = self.name("expected a field's name")?;
        let reserved = |reason| {
            Err(SignatureError::Reserved {
                name: name.clone(),
                reason,
            })
        };
        if KEYWORDS.contains(&name.as_str()) {
            return reserved("it is a keyword of Python");
        }
        if RESERVED.contains(&name.as_str()) {
            return reserved("the name is DSPy's own");
        }
        if name.starts_with('_') {
            return reserved("pydantic takes no leading underscore");
        }
        let ty = if self.take(':') {
            self.annotation().map_err(|source| SignatureError::Field {
                field: name.clone(),
                source: Box::new(source),
            })?
        } else {
            Type::Str
        };
        let has_default = self.take('=');
        if has_default {
            self.skip_default()?;
        }
        Ok((Field::new(name, ty), has_default))
    }

    /// DSPy treats a bare `None` as a missing annotation.
    fn annotation(&mut self) -> Result<Type, SignatureError> {
        let is_constant = matches!(self.tokens.get(self.at), Some((Token::Name(name), _)) if name == "None");
        match self.union(0)? {
            Type::None if is_constant => Ok(Type::Str),
            ty => Ok(ty),
        }
    }

    /// Skips a default, which DSPy ignores: everything up to the next comma outside brackets.
    fn skip_default(&mut self) -> Result<(), SignatureError> {
        let (start, mut open) = (self.at, 0_usize);
        while let Some((token, _)) = self.tokens.get(self.at) {
            match token {
                Token::Mark('(' | '[' | '{') => open += 1,
                Token::Mark(')' | ']' | '}') if open == 0 => {
                    return Err(self.error("a bracket that nothing opened"));
                }
                Token::Mark(')' | ']' | '}') => open -= 1,
                Token::Mark(',') if open == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        match (self.at == start, open) {
            (true, _) => Err(self.error("expected a default")),
            (false, 1..) => Err(self.error("a bracket that is not closed")),
            (false, 0) => Ok(()),
        }
    }

    pub(super) fn name(&mut self, what: &str) -> Result<String, SignatureError> {
        match self.tokens.get(self.at) {
            Some((Token::Name(name), _)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(self.error(what)),
        }
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).map(|(token, _)| token.clone())
    }

    pub(super) fn take(&mut self, mark: char) -> bool {
        let there = matches!(self.tokens.get(self.at), Some((Token::Mark(found), _)) if *found == mark);
        self.at += usize::from(there);
        there
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), SignatureError> {
        if self.take(mark) {
            Ok(())
        } else {
            Err(self.error(&format!("expected `{mark}`")))
        }
    }

    fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn end(&self) -> Result<(), SignatureError> {
        if self.is_done() {
            Ok(())
        } else {
            Err(self.error("expected `,` or the end"))
        }
    }

    pub(super) fn error(&self, what: &str) -> SignatureError {
        syntax(what, self.tokens.get(self.at).map_or("", |(_, rest)| rest))
    }
}
