//! Forms: how the value of a key is read, and how the reference describes it.

use super::definition::{Kind, Table};
use super::{Item, Place, Problems, Section, nearest};
use std::marker::PhantomData;

/// How a value is read and described.
pub(crate) trait Form {
    /// The Rust type of a value of this form.
    type Output<'a>;

    /// Reads the value. Returns `None` after adding a problem.
    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Self::Output<'a>>;

    /// The kind of the value, for the reference.
    fn kind(&self) -> Kind;
}

/// A value that was read, and its place.
#[derive(Clone)]
pub(crate) struct Read<'a, T> {
    /// The value.
    pub(crate) value: T,
    /// The dotted name and the line.
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

    /// The place of the value in the file.
    pub(crate) fn place(&self) -> Place<'a> {
        self.item.place
    }

    /// The value's dotted name.
    pub(crate) fn name(&self) -> &str {
        &self.item.name
    }
}

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

/// A string that is not empty.
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

/// `true` or `false`.
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

/// An integer of at least this value.
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

/// A number in this range.
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

/// One of several strings.
pub(crate) struct OneOf<T: 'static> {
    /// The noun for messages, as in "there is no adapter `x`".
    pub(crate) noun: &'static str,
    /// Each option: the string, its value and its meaning.
    pub(crate) options: &'static [(&'static str, T, &'static str)],
    /// Strings that only other versions or DSPy support.
    pub(crate) unsupported: &'static [&'static str],
}

impl<T> OneOf<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.options.iter().map(|(name, _, _)| *name)
    }
}

impl<T: Clone + 'static> Form for OneOf<T> {
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

/// One value or a list of values.
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

/// A table whose keys the user chooses. The string is an example of a key for the reference.
pub(crate) struct Named<F>(pub(crate) &'static str, pub(crate) F);

/// An entry of a [`Named`] table.
#[derive(Clone)]
pub(crate) struct NamedEntry<'a, T> {
    /// The key that the user chose.
    pub(crate) name: &'a str,
    /// The value. `None` if it could not be read.
    pub(crate) value: Option<T>,
    /// The value in the document.
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

/// A table of the second form, or any other value of the first form.
pub(crate) struct Either<A, B>(pub(crate) A, pub(crate) B);

/// A value of one of the two forms.
#[derive(Clone)]
pub(crate) enum EitherValue<A, B> {
    Plain(A),
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

/// A table with arbitrary content.
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

/// A table that another module reads. It is described like the form `F`.
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

/// An arbitrary value.
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
