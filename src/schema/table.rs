//! Definitions: which keys a table of a file has, what they hold, and what they mean.
//!
//! A key is written down once, by [`table!`]. The reader ([`super::Section::read`]), the reference, the JSON Schema and
//! `bsft explain` all follow the definition.

/// A table that users write.
#[derive(Debug)]
pub struct Table {
    /// Its dotted path in the file, empty for the file itself. `*` stands for a name that the user chooses, as in `lm.*`.
    pub path: &'static str,
    /// What the table is for, in Markdown.
    pub doc: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What it means, in Markdown.
    pub doc: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether it has to be there.
    pub presence: Presence,
    /// A value as TOML, which the reader takes.
    pub example: &'static str,
    /// The fine-tune providers that take the key; empty if it does not depend on the provider.
    pub providers: &'static [&'static str],
}

/// Why this version refuses a key that a later one may take.
pub(crate) const NOT_YET: &str = "is not supported by this version";

/// Whether a key has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A file without it is refused.
    Required,
    /// The value that an absent key stands for, as TOML.
    Default(&'static str),
    /// It may be absent; the documentation says what follows.
    Optional,
    /// A key that is refused: one that later versions may take, or one that must not be in a file.
    Refused {
        /// What is wrong with it, after the key's name.
        why: &'static str,
        /// What to write instead.
        advice: &'static str,
    },
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string, which may be empty.
    Text,
    /// A string with something in it.
    Word,
    /// One of these strings. `what` names the choice in messages, as in "there is no adapter `x`".
    OneOf {
        /// The noun for messages.
        what: &'static str,
        /// What this version takes.
        values: &'static [&'static str],
    },
    /// A boolean.
    Flag,
    /// An integer of at least `least`.
    Count {
        /// The least value.
        least: u64,
    },
    /// A number within bounds.
    Number {
        /// The least value.
        least: f64,
        /// The greatest value; infinite if there is none.
        most: f64,
    },
    /// A number of seconds above zero.
    Seconds,
    /// A list.
    List(&'static Kind),
    /// A table whose names the user chooses.
    Map(&'static Kind),
    /// A table with a definition of its own.
    Table(&'static Table),
    /// Any value.
    Any,
    /// One of several kinds, told apart by their TOML types.
    Either(&'static [Kind]),
}

impl Table {
    /// The definition of a key.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of the keys that this version takes.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.keys
            .iter()
            .filter(|key| !matches!(key.presence, Presence::Refused { .. }))
            .map(|key| key.name)
    }

    /// The table as a heading writes it: `[lm.NAME]`, or "the file" for the root.
    pub fn title(&self) -> String {
        if self.path.is_empty() {
            return "Top level".to_owned();
        }
        format!("[{}]", self.path.replace('*', "NAME"))
    }

    /// This table and every table below it, in the order of the reference, each once.
    pub fn walk(&'static self) -> Vec<&'static Table> {
        let mut tables: Vec<&'static Table> = Vec::new();
        self.collect(&mut tables);
        tables
    }

    fn collect(&'static self, tables: &mut Vec<&'static Table>) {
        if tables.iter().any(|table| std::ptr::eq(*table, self)) {
            return;
        }
        tables.push(self);
        for key in self.keys {
            key.kind.collect(tables);
        }
    }
}

impl Kind {
    fn collect(&self, tables: &mut Vec<&'static Table>) {
        match self {
            Kind::Table(table) => table.collect(tables),
            Kind::List(inner) | Kind::Map(inner) => inner.collect(tables),
            Kind::Either(kinds) => kinds.iter().for_each(|kind| kind.collect(tables)),
            Kind::Text
            | Kind::Word
            | Kind::OneOf { .. }
            | Kind::Flag
            | Kind::Count { .. }
            | Kind::Number { .. }
            | Kind::Seconds
            | Kind::Any => {}
        }
    }

    /// The table that this kind holds directly, in a list, or under names.
    pub fn table(&self) -> Option<&'static Table> {
        match self {
            Kind::Table(table) => Some(table),
            Kind::List(inner) | Kind::Map(inner) => inner.table(),
            Kind::Either(kinds) => kinds.iter().find_map(Kind::table),
            _ => None,
        }
    }

    /// The kind in words, as the reference writes it.
    pub fn describe(&self) -> String {
        match self {
            Kind::Text | Kind::Word => "string".to_owned(),
            Kind::OneOf { values, .. } => {
                let quoted: Vec<String> = values.iter().map(|value| format!("`\"{value}\"`")).collect();
                quoted.join(", ")
            }
            Kind::Flag => "boolean".to_owned(),
            Kind::Count { least } => format!("integer ≥ {least}"),
            Kind::Number { least, most } if most.is_finite() => format!("number from {least} to {most}"),
            Kind::Number { least, .. } => format!("number ≥ {least}"),
            Kind::Seconds => "number of seconds > 0".to_owned(),
            Kind::List(inner) => format!("list of {}", inner.plural()),
            Kind::Map(inner) => format!("table of {}", inner.plural()),
            Kind::Table(_) => "table".to_owned(),
            Kind::Any => "any value".to_owned(),
            Kind::Either(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(Kind::describe).collect();
                kinds.join(" or ")
            }
        }
    }

    fn plural(&self) -> String {
        match self {
            Kind::Text | Kind::Word => "strings".to_owned(),
            Kind::Table(_) => "tables".to_owned(),
            Kind::Any => "any values".to_owned(),
            Kind::Either(kinds) => {
                let kinds: Vec<String> = kinds.iter().map(Kind::plural).collect();
                kinds.join(" or ")
            }
            Kind::List(inner) => format!("lists of {}", inner.plural()),
            other => other.describe(),
        }
    }
}

/// Defines a table: documentation comments become the reference.
///
/// ```text
/// table! {
///     /// What the table is for.
///     pub(crate) static COMPILE: "compile" {
///         /// What the key means.
///         multitask: Kind::Flag, Presence::Default("true"), "true";
///     }
/// }
/// ```
macro_rules! table {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis static $name:ident: $path:literal {
            $(
                $(#[doc = $key_doc:literal])*
                $key:ident: $kind:expr, $presence:expr, $example:literal $(, for $providers:expr)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        $visibility static $name: $crate::schema::Table = $crate::schema::Table {
            path: $path,
            doc: concat!($($doc, "\n"),*),
            keys: &[
                $(
                    $crate::schema::Key {
                        name: stringify!($key),
                        doc: concat!($($key_doc, "\n"),*),
                        kind: $kind,
                        presence: $presence,
                        example: $example,
                        providers: { &[] as &[&str] $(; &$providers as &[&str])? },
                    },
                )*
            ],
        };
    };
}

pub(crate) use table;
