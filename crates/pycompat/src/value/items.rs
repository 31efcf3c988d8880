//! The items of a list, tuple or set. Integers alone, and floats alone, take 8 bytes each: an LM may answer with millions of them.

use super::Value;
use std::borrow::Cow;
use std::fmt;
use std::iter::FusedIterator;

/// The items of a list, tuple or set, in order.
#[derive(Clone, Default)]
pub struct Items(Packed);

#[derive(Clone)]
enum Packed {
    /// Of any kind.
    Values(Vec<Value>),
    /// [`Value::Int`] only.
    Ints(Box<[i64]>),
    /// [`Value::Float`] only.
    Floats(Box<[f64]>),
}

impl Default for Packed {
    fn default() -> Packed {
        Packed::Values(Vec::new())
    }
}

impl Items {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Packed::Values(values) => values.len(),
            Packed::Ints(ints) => ints.len(),
            Packed::Floats(floats) => floats.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at an index.
    pub fn get(&self, index: usize) -> Option<Cow<'_, Value>> {
        match &self.0 {
            Packed::Values(values) => values.get(index).map(Cow::Borrowed),
            Packed::Ints(ints) => ints.get(index).map(|int| Cow::Owned(Value::Int(*int))),
            Packed::Floats(floats) => floats.get(index).map(|float| Cow::Owned(Value::Float(*float))),
        }
    }

    /// The items, one after the other.
    pub fn iter(&self) -> ItemsIter<'_> {
        ItemsIter { items: self, next: 0 }
    }

    /// All items at once. Numbers alone are copied to [`Value`]s, which take several times their memory.
    pub fn values(&self) -> Cow<'_, [Value]> {
        match &self.0 {
            Packed::Values(values) => Cow::Borrowed(values),
            Packed::Ints(_) | Packed::Floats(_) => self.iter().map(Cow::into_owned).collect(),
        }
    }

    /// The same as [`Items::values`], for the owner of the items.
    pub fn into_vec(self) -> Vec<Value> {
        match self.0 {
            Packed::Values(values) => values,
            packed => Items(packed).into_iter().collect(),
        }
    }

    /// The items after a conversion that may fail. Takes no further memory for items that are no numbers.
    ///
    /// # Errors
    ///
    /// The first error of the conversion.
    pub fn try_map<E>(self, convert: impl FnMut(Value) -> Result<Value, E>) -> Result<Items, E> {
        match self.0 {
            Packed::Values(values) => {
                let converted: Result<Vec<Value>, E> = values.into_iter().map(convert).collect();
                converted.map(Items::from)
            }
            packed => Items(packed).into_iter().map(convert).collect(),
        }
    }

    /// Whether all items are integers of 64 bits, as far as that is known without a look at each.
    pub fn are_ints(&self) -> bool {
        matches!(self.0, Packed::Ints(_))
    }

    /// Whether all items are floats, as far as that is known without a look at each.
    pub fn are_floats(&self) -> bool {
        matches!(self.0, Packed::Floats(_))
    }
}

impl PartialEq for Items {
    fn eq(&self, other: &Items) -> bool {
        match (&self.0, &other.0) {
            (Packed::Values(a), Packed::Values(b)) => a == b,
            (Packed::Ints(a), Packed::Ints(b)) => a == b,
            (Packed::Floats(a), Packed::Floats(b)) => a == b,
            _ => self.iter().eq(other),
        }
    }
}

impl fmt::Debug for Items {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl From<Vec<Value>> for Items {
    fn from(values: Vec<Value>) -> Items {
        match values.first() {
            Some(Value::Int(_) | Value::Float(_)) => values.into_iter().collect(),
            _ => Items(Packed::Values(fitted(values))),
        }
    }
}

impl<const N: usize> From<[Value; N]> for Items {
    fn from(values: [Value; N]) -> Items {
        values.into_iter().collect()
    }
}

impl FromIterator<Value> for Items {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Items {
        let mut items = ItemsBuilder::default();
        for value in values {
            items.push(value);
        }
        items.finish()
    }
}

/// Items under construction.
#[derive(Debug, Default)]
pub struct ItemsBuilder(Growing);

#[derive(Debug)]
enum Growing {
    Values(Vec<Value>),
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

impl Default for Growing {
    fn default() -> Growing {
        Growing::Values(Vec::new())
    }
}

impl ItemsBuilder {
    /// Adds an item.
    pub fn push(&mut self, value: Value) {
        match (&mut self.0, value) {
            (Growing::Ints(ints), Value::Int(int)) => ints.push(int),
            (Growing::Floats(floats), Value::Float(float)) => floats.push(float),
            (Growing::Values(values), value) if values.is_empty() => match value {
                Value::Int(int) => self.0 = Growing::Ints(vec![int]),
                Value::Float(float) => self.0 = Growing::Floats(vec![float]),
                value => values.push(value),
            },
            (Growing::Values(values), value) => values.push(value),
            (Growing::Ints(_) | Growing::Floats(_), value) => {
                let mut values = std::mem::take(self).finish().into_vec();
                values.push(value);
                self.0 = Growing::Values(values);
            }
        }
    }

    /// The items that were added.
    pub fn finish(self) -> Items {
        Items(match self.0 {
            Growing::Values(values) => Packed::Values(fitted(values)),
            Growing::Ints(ints) => Packed::Ints(ints.into_boxed_slice()),
            Growing::Floats(floats) => Packed::Floats(floats.into_boxed_slice()),
        })
    }
}

/// Without the room for further elements, if that is most of it: a value may have millions of short parts.
pub(crate) fn fitted<T>(mut parts: Vec<T>) -> Vec<T> {
    if parts.capacity() / 2 > parts.len() {
        parts.shrink_to_fit();
    }
    parts
}

/// Iterates over borrowed items.
#[derive(Clone, Debug)]
pub struct ItemsIter<'a> {
    items: &'a Items,
    next: usize,
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Cow<'a, Value>;

    fn next(&mut self) -> Option<Cow<'a, Value>> {
        let item = self.items.get(self.next)?;
        self.next += 1;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.items.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for ItemsIter<'_> {}

impl FusedIterator for ItemsIter<'_> {}

impl<'a> IntoIterator for &'a Items {
    type Item = Cow<'a, Value>;
    type IntoIter = ItemsIter<'a>;

    fn into_iter(self) -> ItemsIter<'a> {
        self.iter()
    }
}

/// Iterates over owned items.
#[derive(Debug)]
pub struct IntoItems(Left);

#[derive(Debug)]
enum Left {
    Values(std::vec::IntoIter<Value>),
    Ints(std::vec::IntoIter<i64>),
    Floats(std::vec::IntoIter<f64>),
}

impl Iterator for IntoItems {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        match &mut self.0 {
            Left::Values(values) => values.next(),
            Left::Ints(ints) => ints.next().map(Value::Int),
            Left::Floats(floats) => floats.next().map(Value::Float),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match &self.0 {
            Left::Values(values) => values.size_hint(),
            Left::Ints(ints) => ints.size_hint(),
            Left::Floats(floats) => floats.size_hint(),
        }
    }
}

impl ExactSizeIterator for IntoItems {}

impl FusedIterator for IntoItems {}

impl IntoIterator for Items {
    type Item = Value;
    type IntoIter = IntoItems;

    fn into_iter(self) -> IntoItems {
        IntoItems(match self.0 {
            Packed::Values(values) => Left::Values(values.into_iter()),
            Packed::Ints(ints) => Left::Ints(ints.into_vec().into_iter()),
            Packed::Floats(floats) => Left::Floats(floats.into_vec().into_iter()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// One of few values, so that lists of one kind are frequent.
    fn value(kinds: u32, random: &mut Random) -> Value {
        match random.below(kinds) {
            0 => Value::Int(i64::from(random.below(3)) - 1),
            1 => Value::Float(f64::from(random.below(3)) - 0.5),
            2 => Value::from("a"),
            _ => Value::None,
        }
    }

    #[test]
    fn items_hold_what_was_pushed_whatever_its_kinds() {
        let mut random = Random::new(1);
        for _ in 0..2000 {
            let kinds = 1 + random.below(4);
            let values: Vec<Value> = (0..random.below(6)).map(|_| value(kinds, &mut random)).collect();
            let items: Items = values.iter().cloned().collect();
            assert_eq!(items.len(), values.len());
            assert_eq!(items.values(), values);
            assert_eq!(items.iter().map(Cow::into_owned).collect::<Vec<_>>(), values);
            assert_eq!(items.clone().into_iter().collect::<Vec<_>>(), values);
            assert_eq!(items.clone().into_vec(), values);
            assert_eq!(items.clone().try_map(Ok::<_, ()>).as_ref(), Ok(&items));
            assert_eq!(items, Items::from(values.clone()));
            assert_eq!(format!("{items:?}"), format!("{values:?}"));
            let others: Vec<Value> = (0..random.below(6)).map(|_| value(kinds, &mut random)).collect();
            assert_eq!(items == Items::from(others.clone()), values == others);
        }
    }

    #[test]
    fn number_of_a_list_takes_8_bytes_and_any_other_value_32() {
        assert_eq!(size_of::<Value>(), 32);
        let ints: Items = (0..3).map(Value::Int).collect();
        let floats: Items = [Value::Float(0.5), Value::Float(f64::NAN)].into();
        assert!(ints.are_ints() && floats.are_floats());
        let mixed: Items = [Value::Int(1), Value::Float(1.0)].into();
        assert!(!mixed.are_ints() && !mixed.are_floats());
    }
}
