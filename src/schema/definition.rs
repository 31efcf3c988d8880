//! Definitions of tables: each key once, with its meaning, form, default and example. The readers and the reference both use them.

use super::form::{Form, Read};
use super::{Problems, Section, nearest};

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

/// Refuses the keys of `section` that are not in `known`, and suggests the nearest that this version accepts.
pub(crate) fn refuse_others(section: &Section<'_>, known: &[(&str, KeyNotes)], problems: &mut Problems) {
    let taken: Vec<&str> = known
        .iter()
        .filter(|(_, notes)| notes.refusal.is_none())
        .map(|(name, _)| *name)
        .collect();
    for (key, line) in section.keys() {
        if known.iter().any(|(name, _)| *name == key) {
            continue;
        }
        let within = if section.name.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", section.name)
        };
        let place = section.place.with_line(line);
        place.report(
            problems,
            format!("unknown key `{key}`{within}"),
            nearest(key, taken.iter().copied()),
        );
    }
}

/// The value of a key. `None` if it is missing or of the wrong form.
pub(crate) fn read_key<'a, F: Form>(
    section: &Section<'a>,
    name: &str,
    form: &F,
    notes: &KeyNotes,
    problems: &mut Problems,
) -> Option<Read<'a, F::Output<'a>>> {
    // Only the reader of the whole table knows which provider needs the key.
    let item = if notes.is_required && notes.providers.is_empty() {
        section.need(name, notes.example, problems)?
    } else {
        section.get(name)?
    };
    if let Some((why, instead)) = notes.refusal {
        item.place
            .report(problems, format!("`{}` {why}", item.name), instead);
        return None;
    }
    let value = form.read(&item, problems)?;
    Some(Read { value, item })
}

/// Defines a table of a file: a struct with a field per key, the reading of it, and its part of the reference.
///
/// Each key is `/// meaning`, then `name: Form = form, notes;`. The doc comments are the reference: write them for users.
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])*
        $visibility:vis struct $table:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident : $form:ty = $value:expr, $notes:expr;
            )*
        }
    ) => {
        $(#[doc = $table_doc])*
        #[allow(dead_code, reason = "some keys are only checked")]
        $visibility struct $table<'a> {
            /// The table.
            $visibility section: $crate::schema::Section<'a>,
            $(
                $(#[doc = $doc])*
                $visibility $field: Option<$crate::schema::form::Read<'a, <$form as $crate::schema::form::Form>::Output<'a>>>,
            )*
        }

        impl $crate::schema::definition::Table for $table<'static> {
            type Content<'a> = $table<'a>;

            fn definition() -> $crate::schema::definition::TableDefinition {
                $crate::schema::definition::TableDefinition {
                    id: stringify!($table),
                    docs: &[$($table_doc),*],
                    keys: vec![$(
                        $crate::schema::definition::Key {
                            name: stringify!($field).trim_start_matches("r#"),
                            docs: &[$($doc),*],
                            kind: <$form as $crate::schema::form::Form>::kind(&$value),
                            notes: $notes,
                        },
                    )*],
                }
            }

            fn read<'a>(
                section: &$crate::schema::Section<'a>,
                problems: &mut $crate::schema::Problems,
            ) -> $table<'a> {
                use $crate::schema::definition::{read_key, refuse_others};
                let known = [$((stringify!($field).trim_start_matches("r#"), $notes)),*];
                refuse_others(section, &known, problems);
                $table {
                    $(
                        $field: read_key::<$form>(
                            section,
                            stringify!($field).trim_start_matches("r#"),
                            &$value,
                            &$notes,
                            problems,
                        ),
                    )*
                    section: section.clone(),
                }
            }
        }
    };
}
pub(crate) use table;
