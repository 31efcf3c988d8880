//! Parses the scripts' replies strictly: anything else was not written by this version.

use super::long_pointer::LongPointer;
use crate::store::{Claim, Position, Stored};
use crate::task::{Attempt, TaskId};
use redis::Value;

/// The reply to a claim.
pub(super) fn claim(reply: Value) -> Option<Claim> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    match integer(parts.next()?)? {
        0 => Some(Claim::Done),
        1 => Some(Claim::Held),
        2 => {
            let attempt = Attempt(u32::try_from(integer(parts.next()?)?).ok()?);
            let failures = u32::try_from(integer(parts.next()?)?).ok()?;
            let mut records = Vec::with_capacity(parts.len() / 2);
            let mut long_records = Vec::new();
            while let Some(slot) = parts.next() {
                let (slot, record) = (number(&bytes(slot)?)?, bytes(parts.next()?)?);
                match LongPointer::parse(&record) {
                    Some(pointer) => long_records.push((slot, pointer.len)),
                    None => records.push((slot, record)),
                }
            }
            records.sort_unstable_by_key(|(slot, _)| *slot);
            long_records.sort_unstable();
            Some(Claim::Run {
                attempt,
                failures,
                records,
                long_records,
            })
        }
        _ => None,
    }
}

/// Outcomes, oldest first.
pub(super) fn outcomes(reply: Value) -> Option<Vec<Stored>> {
    let Value::Array(entries) = reply else { return None };
    entries.into_iter().map(stored).collect()
}

fn stored(entry: Value) -> Option<Stored> {
    let [id, fields] = array(entry)?;
    let id = bytes(id)?;
    let position = Position(number(id.strip_suffix(b"-0")?)?);
    let [_, task, _, outcome] = array(fields)?;
    let outcome = bytes(outcome)?;
    let long = LongPointer::parse(&outcome).map(|pointer| pointer.len);
    Some(Stored {
        position,
        task: TaskId(bytes(task)?.try_into().ok()?),
        outcome: if long.is_some() { Vec::new() } else { outcome },
        long,
    })
}

/// The tasks of a trim that have long values, by their indexes from 1, with what they announced.
pub(super) fn trimmed_long(reply: Value) -> Option<Vec<(usize, String)>> {
    let Value::Array(parts) = reply else { return None };
    let mut parts = parts.into_iter();
    let mut all = Vec::new();
    while let Some(index) = parts.next() {
        let announced = String::from_utf8(bytes(parts.next()?)?).ok()?;
        all.push((usize::try_from(integer(index)?).ok()?, announced));
    }
    Some(all)
}

/// Bytes that may be missing.
pub(super) fn optional(reply: Value) -> Option<Option<Vec<u8>>> {
    match reply {
        Value::Nil => Some(None),
        reply => bytes(reply).map(Some),
    }
}

/// Values of which each may be missing.
pub(super) fn optionals(reply: Value) -> Option<Vec<Option<Vec<u8>>>> {
    let Value::Array(values) = reply else { return None };
    values.into_iter().map(optional).collect()
}

/// Indexes into a list.
pub(super) fn places(reply: Value) -> Option<Vec<usize>> {
    let Value::Array(places) = reply else { return None };
    let place = |value| usize::try_from(integer(value)?).ok();
    places.into_iter().map(place).collect()
}

/// The other leader and the rest of its lease in milliseconds, or `None` if the caller holds the lease.
pub(super) fn other_leader(reply: Value) -> Option<Option<(Vec<u8>, u64)>> {
    let Value::Array(mut parts) = reply else {
        return None;
    };
    match (parts.pop(), parts.pop()) {
        (None, _) => Some(None),
        (Some(left), Some(who)) => Some(Some((bytes(who)?, u64::try_from(integer(left)?).unwrap_or(0)))),
        (Some(_), None) => None,
    }
}

/// Texts, one after the other.
pub(super) fn texts(reply: Value) -> Option<Vec<Vec<u8>>> {
    let Value::Array(texts) = reply else { return None };
    texts.into_iter().map(bytes).collect()
}

/// Names and values of a hash.
pub(super) fn fields(reply: Value) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let pairs: Vec<(Value, Value)> = match reply {
        Value::Map(pairs) => pairs,
        Value::Array(parts) => {
            let mut parts = parts.into_iter();
            std::iter::from_fn(|| parts.next().zip(parts.next())).collect()
        }
        _ => return None,
    };
    let field = |(name, value)| Some((bytes(name)?, bytes(value)?));
    pairs.into_iter().map(field).collect()
}

pub(super) fn integers(reply: Value) -> Option<Vec<i64>> {
    let Value::Array(numbers) = reply else { return None };
    numbers.into_iter().map(integer).collect()
}

pub(super) fn integer(reply: Value) -> Option<i64> {
    match reply {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

fn bytes(reply: Value) -> Option<Vec<u8>> {
    match reply {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn array<const N: usize>(reply: Value) -> Option<[Value; N]> {
    match reply {
        Value::Array(values) => values.try_into().ok(),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
