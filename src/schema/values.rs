//! The values of a table that was read by its definition.

use super::section::{Item, Place, Section};
use super::table::{Key, Kind, Presence, Table};
use super::{Problems, nearest};
use indexmap::IndexMap;

/// The values of a table whose kinds are as defined. A value that was not is reported and missing here.
#[derive(Clone)]
pub(crate) struct Values<'a> {
    table: &'static Table,
    section: Section<'a>,
    items: IndexMap<&'static str, Item<'a>>,
}

impl<'a> Section<'a> {
    /// Reads the table by its definition, and reports what is unknown, missing, reserved or of another kind. The tables in
    /// it are read by their own definitions, one by one.
    pub(crate) fn read(&self, table: &'static Table, problems: &mut Problems) -> Values<'a> {
        let known: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
        self.only(&known, table.names(), problems);
        let mut items = IndexMap::new();
        for key in table.keys {
            let item = match key.presence {
                Presence::Required => self.need(key.name, key.example, problems),
                _ => self.get(key.name),
            };
            let Some(item) = item else { continue };
            if let Presence::Refused { why, advice } = key.presence {
                let message = format!("`{}` {why}", item.name);
                item.place.report(problems, message, advice);
            } else if item.is(&key.kind, problems) {
                items.insert(key.name, item);
            }
        }
        Values {
            table,
            section: self.clone(),
            items,
        }
    }
}

impl<'a> Values<'a> {
    /// The table as written.
    pub(crate) fn section(&self) -> &Section<'a> {
        &self.section
    }

    /// Where the table is.
    pub(crate) fn place(&self) -> Place<'a> {
        self.section.place
    }

    /// The definition of a key.
    ///
    /// # Panics
    ///
    /// If the table's definition has no such key: the reader and the definition do not agree.
    fn key(&self, name: &str) -> &'static Key {
        let table = self.table.path;
        self.table
            .key(name)
            .unwrap_or_else(|| panic!("the definition of [{table}] has no key `{name}`"))
    }

    /// The value of a key, `None` if it is absent or was refused.
    pub(crate) fn item(&self, name: &str) -> Option<&Item<'a>> {
        self.items.get(self.key(name).name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        self.item(name)?.text(&mut Problems::default())
    }

    pub(crate) fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.item(name)?.flag(&mut Problems::default())
    }

    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        self.item(name)?.count(0, &mut Problems::default())
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.item(name)?
            .number(f64::NEG_INFINITY, f64::INFINITY, &mut Problems::default())
    }

    /// The table under a key, read by its definition.
    pub(crate) fn table(&self, name: &str, problems: &mut Problems) -> Option<Values<'a>> {
        let table = self.key(name).kind.table()?;
        let section = self.item(name)?.section(&mut Problems::default())?;
        Some(section.read(table, problems))
    }

    #[expect(dead_code, reason = "the trainers file reads lists of strings")]
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<String>> {
        let items = self.item(name)?.list(&mut Problems::default())?;
        items
            .iter()
            .map(|item| Some(item.text(&mut Problems::default())?.to_owned()))
            .collect()
    }
}

impl Item<'_> {
    /// Whether the value is of this kind; reports it if not.
    pub(super) fn is(&self, kind: &Kind, problems: &mut Problems) -> bool {
        match kind {
            Kind::Text => self.text(problems).is_some(),
            Kind::Word => self.word(problems).is_some(),
            Kind::OneOf { what, values } => self.is_one_of(what, values, problems),
            Kind::Flag => self.flag(problems).is_some(),
            Kind::Count { least } => self.count(*least, problems).is_some(),
            Kind::Number { least, most } => self.number(*least, *most, problems).is_some(),
            Kind::Seconds => self.seconds(problems).is_some(),
            Kind::Table(_) => self.section(problems).is_some(),
            Kind::List(inner) => self.list(problems).is_some_and(|items| {
                let found: Vec<bool> = items.iter().map(|item| item.is(inner, problems)).collect();
                found.into_iter().all(|fits| fits)
            }),
            Kind::Map(inner) => self.section(problems).is_some_and(|section| {
                let found: Vec<bool> = section
                    .items()
                    .map(|(_, item)| item.is(inner, problems))
                    .collect();
                found.into_iter().all(|fits| fits)
            }),
            Kind::Any => true,
            Kind::Either(kinds) => {
                let alike = kinds.iter().find(|kind| self.is_alike(kind));
                alike
                    .or(kinds.first())
                    .is_some_and(|kind| self.is(kind, problems))
            }
        }
    }

    /// Whether the value has the TOML type of this kind.
    fn is_alike(&self, kind: &Kind) -> bool {
        match kind {
            Kind::Text | Kind::Word | Kind::OneOf { .. } => self.is_text(),
            Kind::Table(_) | Kind::Map(_) => self.is_table(),
            Kind::List(_) => self.is_list(),
            Kind::Any => true,
            Kind::Flag | Kind::Count { .. } | Kind::Number { .. } | Kind::Seconds => {
                !self.is_text() && !self.is_table() && !self.is_list()
            }
            Kind::Either(kinds) => kinds.iter().any(|kind| self.is_alike(kind)),
        }
    }

    fn is_one_of(&self, what: &str, values: &[&str], problems: &mut Problems) -> bool {
        let Some(word) = self.word(problems) else {
            return false;
        };
        let known = values.contains(&word);
        if !known {
            let message = format!("there is no {what} `{word}`");
            self.place
                .report(problems, message, nearest(word, values.iter().copied()));
        }
        known
    }
}
