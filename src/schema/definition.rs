//! Definitions of tables: each key once, with its meaning, form, default and example. The readers and the reference both use them.

use super::{Problems, Section};

/// The first version of a key, unless its notes name another.
const FIRST_VERSION: &str = "0.1.0";

/// A table of a file: its meaning and its keys.
#[derive(Clone, Debug)]
pub(crate) struct TableDefinition {
    /// The name of its Rust type: a table that occurs in two places has one id.
    pub(crate) id: &'static str,
    /// The lines of its doc comment.
    pub(crate) docs: &'static [&'static str],
    /// Its keys in the order of the reference.
    pub(crate) keys: Vec<Key>,
}

/// A key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// The key as it is written in the file.
    pub(crate) name: &'static str,
    /// The lines of its doc comment.
    pub(crate) docs: &'static [&'static str],
    /// The kind of its values.
    pub(crate) kind: Kind,
    /// Whether the key is required, its default and an example.
    pub(crate) notes: KeyNotes,
}

impl Key {
    /// Whether this version refuses the key, or reads it for a later version only.
    pub(crate) fn is_refused(&self) -> bool {
        self.notes.refusal.is_some()
    }
}

/// The kind of a value, for the reference and the JSON Schema.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Text,
    /// `true` or `false`.
    Flag,
    /// An integer of at least this value.
    Integer(u64),
    /// A number in this range. The upper bound may be infinite.
    Number(f64, f64),
    /// A number of seconds above 0.
    Seconds,
    /// A length of time such as `"1h"`.
    TimeSpan,
    /// One of these strings, each with its meaning.
    Choice(Vec<(&'static str, &'static str)>),
    List(Box<Kind>),
    /// One value or a list of values.
    OneOrMany(Box<Kind>),
    /// A value of one of these two kinds.
    Either(Box<Kind>, Box<Kind>),
    Table(TableDefinition),
    /// A table whose keys the user chooses. The string is an example of such a key.
    Named(&'static str, Box<Kind>),
    /// A table with arbitrary content.
    Free,
    /// An arbitrary value.
    Any,
}

/// The facts about a key that its meaning and its form do not contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyNotes {
    /// The value in the reference's example.
    pub(crate) example: &'static str,
    /// Whether the key is required.
    pub(crate) is_required: bool,
    /// The default if the key is missing.
    pub(crate) default: Option<&'static str>,
    /// The fine-tune providers that accept the key. Empty for all.
    pub(crate) providers: &'static [&'static str],
    /// Why this version refuses the key, and what to write instead.
    pub(crate) refusal: Option<(&'static str, &'static str)>,
    /// The first version with the key.
    pub(crate) since: &'static str,
}

/// A required key.
pub(crate) const fn required(example: &'static str) -> KeyNotes {
    KeyNotes {
        example,
        is_required: true,
        default: None,
        providers: &[],
        refusal: None,
        since: FIRST_VERSION,
    }
}

/// An optional key.
pub(crate) const fn optional(example: &'static str) -> KeyNotes {
    KeyNotes {
        is_required: false,
        ..required(example)
    }
}

/// A key that is recognised and refused: the problem is `why`, the remedy `instead`.
pub(crate) const fn refused(why: &'static str, instead: &'static str) -> KeyNotes {
    KeyNotes {
        refusal: Some((why, instead)),
        ..optional("")
    }
}

/// A key that is reserved for a later version.
pub(crate) const fn reserved(instead: &'static str) -> KeyNotes {
    refused("is not supported by this version", instead)
}

impl KeyNotes {
    /// Adds the default of a missing key.
    pub(crate) const fn default(self, default: &'static str) -> KeyNotes {
        KeyNotes {
            default: Some(default),
            ..self
        }
    }

    /// Names the first version with the key.
    pub(crate) const fn since(self, since: &'static str) -> KeyNotes {
        KeyNotes { since, ..self }
    }

    /// Limits the key to some fine-tune providers.
    pub(crate) const fn only_for(self, providers: &'static [&'static str]) -> KeyNotes {
        KeyNotes { providers, ..self }
    }
}

/// A table that `table!` defines.
pub(crate) trait Table {
    /// The values that are read from it.
    type Content<'a>;

    /// Returns its definition.
    fn definition() -> TableDefinition;

    /// Reads the table. Everything that is wrong becomes a problem.
    fn read<'a>(section: &Section<'a>, problems: &mut Problems) -> Self::Content<'a>;
}
