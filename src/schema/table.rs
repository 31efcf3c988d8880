//! The macro `table!`, which defines a table with its keys, and the functions that read the keys.

use super::definition::KeyNotes;
use super::form::{Form, Read};
use super::{Problems, Section, nearest};

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
                use $crate::schema::table::{read_key, refuse_others};
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
