//! Parses the type annotations of the mini-language, as `typing` and DSPy combine them.

use super::SignatureError;
use super::parse::SignatureReader;
use super::tokens::{Token, tokens};
use super::types::{NamedTypes, TupleItems, Type};
use bsft_pycompat::value::Value;

/// The names of the built-in types, for suggestions.
const BUILT_IN: [&str; 13] = [
    "str", "int", "float", "bool", "list", "dict", "tuple", "set", "Literal", "Optional", "Union", "Any",
    "NoneType",
];

/// Names of these types in other languages, for suggestions.
const FOREIGN: [(&str, &str); 10] = [
    ("string", "str"),
    ("text", "str"),
    ("integer", "int"),
    ("number", "float"),
    ("double", "float"),
    ("boolean", "bool"),
    ("array", "list"),
    ("object", "dict"),
    ("map", "dict"),
    ("enum", "Literal"),
];

/// The maximum depth of nested types.
const MAX_DEPTH: usize = 50;

/// Parses a single annotation.
pub fn parse_type(text: &str, types: &NamedTypes) -> Result<Type, SignatureError> {
    let mut reader = SignatureReader {
        tokens: tokens(text)?,
        at: 0,
        types,
    };
    let ty = reader.union(0)?;
    reader.end()?;
    Ok(ty)
}

impl SignatureReader<'_> {
    /// Parses one type, or several separated by `|`.
    pub(super) fn union(&mut self, depth: usize) -> Result<Type, SignatureError> {
        let mut members = vec![self.primary(depth)?];
        while self.take('|') {
            members.push(self.primary(depth)?);
        }
        Ok(flattened(members))
    }

    fn primary(&mut self, depth: usize) -> Result<Type, SignatureError> {
        if depth > MAX_DEPTH {
            return Err(self.error("types nested too deep"));
        }
        if self.take('(') {
            let inner = self.union(depth + 1)?;
            self.expect(')')?;
            return Ok(inner);
        }
        let mut name = self.name("expected a type")?;
        while self.take('.') {
            let rest = self.name("expected a name")?;
            // `typing.List` and the like are accepted; types of other modules are not.
            if name != "typing" {
                return Err(SignatureError::UnknownType {
                    name: format!("{name}.{rest}"),
                    remedy: "name built-in types, or define it in [program.types]".to_owned(),
                });
            }
            name = rest;
        }
        let subscripted = self.take('[');
        match (name.as_str(), subscripted) {
            ("Literal", true) => Ok(Type::Literal(self.literal(depth)?)),
            ("Annotated", true) => {
                let inner = self.union(depth + 1)?;
                while self.take(',') {
                    self.at += 1;
                }
                self.expect(']')?;
                Ok(inner)
            }
            (_, false) => self.plain(name),
            (_, true) => {
                let (arguments, repeated) = self.arguments(depth + 1)?;
                applied(&name, arguments, repeated)
            }
        }
    }

    /// Resolves a type without brackets. As in DSPy, the job's names take precedence over built-in ones.
    fn plain(&self, name: String) -> Result<Type, SignatureError> {
        if let Some(ty) = self.types.get(&name) {
            return Ok(ty.clone());
        }
        let bad = |reason: &str| {
            Err(SignatureError::BadType {
                name: name.clone(),
                reason: reason.to_owned(),
            })
        };
        match name.as_str() {
            "str" | "Text" => Ok(Type::Str),
            "int" => Ok(Type::Int),
            "float" => Ok(Type::Float),
            "bool" => Ok(Type::Bool),
            "None" | "NoneType" => Ok(Type::None),
            "Any" => Ok(Type::Any),
            "list" => Ok(Type::List(None)),
            "dict" => Ok(Type::Dict(None)),
            "set" => Ok(Type::Set(None)),
            "tuple" => Ok(Type::Tuple(TupleItems::Bare)),
            "List" | "Dict" | "Set" | "Tuple" => {
                bad(&format!("DSPy refuses it bare; write `{}`", name.to_lowercase()))
            }
            "Literal" => bad("write its values in brackets, such as Literal['yes', 'no']"),
            "Optional" | "Union" => bad("write what it is made of in brackets, such as Optional[int]"),
            _ => Err(self.unknown(name)),
        }
    }

    fn unknown(&self, name: String) -> SignatureError {
        let lower = name.to_lowercase();
        let known = BUILT_IN
            .iter()
            .copied()
            .chain(self.types.keys().map(String::as_str));
        let nearest = known
            .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &lower), known))
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, known)| known);
        let meant = FOREIGN
            .iter()
            .find(|(foreign, _)| *foreign == lower)
            .map(|(_, ours)| *ours);
        let remedy = match meant.or(nearest) {
            Some(known) => format!("did you mean `{known}`?"),
            None => "define it in [program.types]".to_owned(),
        };
        SignatureError::UnknownType { name, remedy }
    }

    /// Parses the members after `Literal[`, without duplicates. Members of a nested literal are included.
    fn literal(&mut self, depth: usize) -> Result<Vec<Value>, SignatureError> {
        if depth > MAX_DEPTH {
            return Err(self.error("types nested too deep"));
        }
        let mut members: Vec<Value> = Vec::new();
        while !self.take(']') {
            for member in self.member(depth)? {
                if !members.contains(&member) {
                    members.push(member);
                }
            }
            if !self.take(',') {
                self.expect(']')?;
                break;
            }
        }
        if members.is_empty() {
            return Err(self.error("a Literal without values"));
        }
        Ok(members)
    }

    fn member(&mut self, depth: usize) -> Result<Vec<Value>, SignatureError> {
        let member = match self.next() {
            Some(Token::Constant(Value::Str(mut text))) => {
                // Python joins adjacent strings.
                while let Some((Token::Constant(Value::Str(more)), _)) = self.tokens.get(self.at) {
                    text.push_str(more);
                    self.at += 1;
                }
                Value::Str(text)
            }
            Some(Token::Constant(value)) => value,
            Some(Token::Name(name)) if name == "True" => Value::Bool(true),
            Some(Token::Name(name)) if name == "False" => Value::Bool(false),
            Some(Token::Name(name)) if name == "None" => Value::None,
            Some(Token::Name(name)) if name == "Literal" && self.take('[') => return self.literal(depth + 1),
            _ => {
                self.at -= 1;
                return Err(self.error("expected a string, a number, True, False or None"));
            }
        };
        Ok(vec![member])
    }

    fn arguments(&mut self, depth: usize) -> Result<(Vec<Type>, bool), SignatureError> {
        let (mut arguments, mut repeated) = (Vec::new(), false);
        while !self.take(']') {
            if arguments.len() == 1 && self.take('…') {
                repeated = true;
            } else {
                arguments.push(self.union(depth)?);
            }
            if !self.take(',') {
                self.expect(']')?;
                break;
            }
        }
        Ok((arguments, repeated))
    }
}

fn applied(name: &str, arguments: Vec<Type>, repeated: bool) -> Result<Type, SignatureError> {
    let bad = |reason: &str| {
        Err(SignatureError::BadType {
            name: name.to_owned(),
            reason: reason.to_owned(),
        })
    };
    let count = arguments.len();
    let mut arguments = arguments.into_iter();
    let mut next = || arguments.next().map(Box::new);
    match (name, count, repeated) {
        ("list" | "List", 1, false) => Ok(Type::List(next())),
        ("set" | "Set", 1, false) => Ok(Type::Set(next())),
        ("dict" | "Dict", 2, false) => match (next(), next()) {
            (Some(key), Some(value)) => Ok(Type::Dict(Some(Box::new((*key, *value))))),
            _ => bad("takes a key and a value type"),
        },
        ("tuple" | "Tuple", 1, true) => match next() {
            Some(item) => Ok(Type::Tuple(TupleItems::Repeated(item))),
            None => bad("takes a type before the points"),
        },
        ("tuple" | "Tuple", 1.., false) => Ok(Type::Tuple(TupleItems::Fixed(arguments.collect()))),
        ("Optional", 1, false) => Ok(flattened(arguments.chain([Type::None]).collect())),
        ("Union", 1.., false) => Ok(flattened(arguments.collect())),
        ("list" | "List" | "set" | "Set" | "Optional", ..) => bad("takes one type in brackets"),
        ("dict" | "Dict", ..) => bad("takes two types in brackets, such as dict[str, int]"),
        ("tuple" | "Tuple" | "Union", ..) => bad("takes types in brackets"),
        _ => bad("takes nothing in brackets"),
    }
}

/// Builds a union as `typing` does: flat, without duplicates, and only the member itself if there is one.
fn flattened(members: Vec<Type>) -> Type {
    let mut flat: Vec<Type> = Vec::with_capacity(members.len());
    for member in members {
        let inner = match member {
            Type::Union(inner) => inner,
            other => vec![other],
        };
        for member in inner {
            if !flat.contains(&member) {
                flat.push(member);
            }
        }
    }
    if flat.len() == 1 {
        flat.swap_remove(0)
    } else {
        Type::Union(flat)
    }
}
