//! Forms: how the value of a key is read, and what the reference says that it may be.

use super::definition::{Kind, Table};
use super::{Item, Place, Problems, Section, nearest};
use std::marker::PhantomData;

/// How a value is read.
pub(crate) trait Form {
    /// What a value of this form is to the program.
    type Output<'a>;

    /// The value, or None and a problem.
    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>>;

    /// What the reference says of it.
    fn kind(&self) -> Kind;
}

/// A value that was read, and where.
#[derive(Clone)]
pub(crate) struct Read<'a, T> {
    /// What was read.
    pub(crate) value: T,
    /// Where: its dotted name, its line.
    pub(crate) item: Item<'a>,
}

impl<'a, T> Read<'a, T> {
    /// Reports a problem of this value.
    pub(crate) fn report(
        &self,
        problems: &mut Problems,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.item.place.report(problems, message, remedy);
    }

    /// Where the value stands.
    pub(crate) fn place(&self) -> Place<'a> {
        self.item.place
    }

    /// The value's dotted name.
    pub(crate) fn name(&self) -> &str {
        &self.item.name
    }
}

/// A string.
pub(crate) struct Text;

impl Form for Text {
    type Output<'a> = &'a str;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<&'a str> {
        item.text(problems)
    }

    fn kind(&self) -> Kind {
        Kind::Text
    }
}

/// A string with something in it.
pub(crate) struct Word;

impl Form for Word {
    type Output<'a> = &'a str;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<&'a str> {
        item.word(problems)
    }

    fn kind(&self) -> Kind {
        Kind::Text
    }
}

/// true or false.
pub(crate) struct Flag;

impl Form for Flag {
    type Output<'a> = bool;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<bool> {
        item.flag(problems)
    }

    fn kind(&self) -> Kind {
        Kind::Flag
    }
}

/// An integer of at least this.
pub(crate) struct Count(pub(crate) u64);

impl Form for Count {
    type Output<'a> = u64;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<u64> {
        item.count(self.0, problems)
    }

    fn kind(&self) -> Kind {
        Kind::Integer(self.0)
    }
}

/// A number between these two.
pub(crate) struct Number(pub(crate) f64, pub(crate) f64);

impl Form for Number {
    type Output<'a> = f64;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<f64> {
        item.number(self.0, self.1, problems)
    }

    fn kind(&self) -> Kind {
        Kind::Number(self.0, self.1)
    }
}

/// One of some strings.
pub(crate) struct Choice<T: 'static> {
    /// What is chosen, as in "there is no adapter `x`".
    pub(crate) noun: &'static str,
    /// What may be written, its value, its meaning.
    pub(crate) options: &'static [(&'static str, T, &'static str)],
    /// What only other versions, or DSPy, have.
    pub(crate) unsupported: &'static [&'static str],
}

impl<T> Choice<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.options.iter().map(|(name, _, _)| *name)
    }
}

impl<T: Clone + 'static> Form for Choice<T> {
    type Output<'a> = T;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<T> {
        let word = item.word(problems)?;
        if let Some((_, value, _)) = self.options.iter().find(|(name, _, _)| *name == word) {
            return Some(value.clone());
        }
        let noun = self.noun;
        if self.unsupported.contains(&word) {
            let names: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
            item.place.report(
                problems,
                format!("the {noun} `{word}` is not supported by this version"),
                format!("write {}", names.join(" or ")),
            );
        } else {
            let remedy = nearest(word, self.names());
            item.place
                .report(problems, format!("there is no {noun} `{word}`"), remedy);
        }
        None
    }

    fn kind(&self) -> Kind {
        Kind::Choice(self.options.iter().map(|(name, _, doc)| (*name, *doc)).collect())
    }
}

/// A list.
pub(crate) struct List<F>(pub(crate) F);

impl<F: Form> Form for List<F> {
    type Output<'a> = Vec<Read<'a, F::Output<'a>>>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>> {
        let items = item.list(problems)?.into_iter();
        let read = items.filter_map(|item| {
            let value = self.0.read(&item, problems)?;
            Some(Read { value, item })
        });
        Some(read.collect())
    }

    fn kind(&self) -> Kind {
        Kind::List(Box::new(self.0.kind()))
    }
}

/// One value, or a list of such.
pub(crate) struct OneOrMany<F>(pub(crate) F);

impl<F: Form> Form for OneOrMany<F> {
    type Output<'a> = Vec<Read<'a, F::Output<'a>>>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>> {
        let items = if item.is_list() {
            item.list(problems)?
        } else {
            vec![item.clone()]
        };
        let read = items.into_iter().filter_map(|item| {
            let value = self.0.read(&item, problems)?;
            Some(Read { value, item })
        });
        Some(read.collect())
    }

    fn kind(&self) -> Kind {
        Kind::OneOrMany(Box::new(self.0.kind()))
    }
}

/// A table with known keys.
pub(crate) struct Sub<T>(PhantomData<T>);

impl<T> Sub<T> {
    pub(crate) const fn new() -> Sub<T> {
        Sub(PhantomData)
    }
}

impl<T: Table> Form for Sub<T> {
    type Output<'a> = T::Content<'a>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<T::Content<'a>> {
        Some(T::read(&item.section(problems)?, problems))
    }

    fn kind(&self) -> Kind {
        Kind::Table(T::definition())
    }
}

/// A table whose keys the user chooses; the first is one for the reference.
pub(crate) struct Named<F>(pub(crate) &'static str, pub(crate) F);

/// An entry of a [`Named`] table.
#[derive(Clone)]
pub(crate) struct NamedEntry<'a, T> {
    /// The key that the user chose.
    pub(crate) name: &'a str,
    /// Its value; None where it could not be read.
    pub(crate) value: Option<T>,
    /// Where it stands.
    pub(crate) item: Item<'a>,
}

impl<F: Form> Form for Named<F> {
    type Output<'a> = Vec<NamedEntry<'a, F::Output<'a>>>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>> {
        let section = item.section(problems)?;
        let read = section.items().map(|(name, item)| NamedEntry {
            name,
            value: self.1.read(&item, problems),
            item,
        });
        Some(read.collect())
    }

    fn kind(&self) -> Kind {
        Kind::Named(self.0, Box::new(self.1.kind()))
    }
}

/// A table of the second form, or anything of the first.
pub(crate) struct Either<A, B>(pub(crate) A, pub(crate) B);

/// Which of the two forms a value has.
#[derive(Clone)]
pub(crate) enum EitherValue<A, B> {
    /// The first.
    Plain(A),
    /// The table.
    Table(B),
}

impl<A: Form, B: Form> Form for Either<A, B> {
    type Output<'a> = EitherValue<A::Output<'a>, B::Output<'a>>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>> {
        if item.is_table() {
            self.1.read(item, problems).map(EitherValue::Table)
        } else {
            self.0.read(item, problems).map(EitherValue::Plain)
        }
    }

    fn kind(&self) -> Kind {
        Kind::Either(Box::new(self.0.kind()), Box::new(self.1.kind()))
    }
}

/// A table of anything.
pub(crate) struct Free;

impl Form for Free {
    type Output<'a> = Section<'a>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Section<'a>> {
        item.section(problems)
    }

    fn kind(&self) -> Kind {
        Kind::Free
    }
}

/// A table that another part of the program reads; it is described as the form `F`.
pub(crate) struct Described<F>(pub(crate) F);

impl<F: Form> Form for Described<F> {
    type Output<'a> = Section<'a>;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Section<'a>> {
        item.section(problems)
    }

    fn kind(&self) -> Kind {
        self.0.kind()
    }
}

/// Anything.
pub(crate) struct Any;

impl Form for Any {
    type Output<'a> = Item<'a>;

    fn read<'a>(&self, item: &Item<'a>, _: &mut Problems) -> Option<Item<'a>> {
        Some(item.clone())
    }

    fn kind(&self) -> Kind {
        Kind::Any
    }
}
