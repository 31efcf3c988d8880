//! Changes a random value so that it satisfies the constraints of its field, as far as a simple rule can.

use super::draw::Draw;
use crate::signature::Constraint;
use crate::value::Value;
use regex_syntax::hir::{Class, Hir, HirKind};

/// The most repetitions that a pattern without an upper bound gets beyond its least.
const MORE: u32 = 3;

/// The most items or characters that a value is filled up with. A field that needs more gets a value that does not satisfy it.
pub(super) const LONGEST: usize = 10_000;

/// The parts of an open range of floats, of which one inner end is drawn.
const PARTS: usize = 16;

/// Returns the value, changed to satisfy the constraints where it is a number or a text.
pub(super) fn adapted(value: Value, constraints: &[Constraint], draw: &mut Draw) -> Value {
    match value {
        Value::Int(int) => Value::Int(int_in(int, constraints)),
        Value::Float(float) => Value::Float(float_in(float, constraints, draw)),
        Value::Str(text) => Value::Str(text_of(text, constraints, draw)),
        other => other,
    }
}

/// The bound of the constraint `name`; `None` if there is no such constraint.
pub(super) fn bound(constraints: &[Constraint], name: &str) -> Option<f64> {
    let found = constraints.iter().find(|constraint| constraint.name() == name);
    found.and_then(|constraint| constraint.bound().as_f64())
}

fn int_in(int: i64, constraints: &[Constraint]) -> i64 {
    let whole = |name: &str| bound(constraints, name).map(|bound| bound as i64);
    let least = whole("ge").or(whole("gt").map(|gt| gt.saturating_add(1)));
    let most = whole("le").or(whole("lt").map(|lt| lt.saturating_sub(1)));
    let step = whole("multiple_of").unwrap_or(1).max(1);
    // The least multiple from the lower bound on, and the greatest up to the upper one.
    let least = least.map(|least| least.saturating_add(least.wrapping_neg().rem_euclid(step)));
    let most = most.map(|most| most.saturating_sub(most.rem_euclid(step)));
    let steps = int.unsigned_abs();
    let times = |steps: u64| i64::try_from(steps).unwrap_or(i64::MAX).saturating_mul(step);
    match (least, most) {
        (Some(least), Some(most)) => {
            let possible = (most.saturating_sub(least) / step).max(0).unsigned_abs();
            least.saturating_add(times(steps % (possible + 1)))
        }
        (Some(least), None) => least.saturating_add(times(steps)),
        (None, Some(most)) => most.saturating_sub(times(steps)),
        (None, None) => times(steps),
    }
}

fn float_in(float: f64, constraints: &[Constraint], draw: &mut Draw) -> f64 {
    let of = |name: &str| bound(constraints, name);
    let (least, most) = (of("ge").or(of("gt")), of("le").or(of("lt")));
    let between = match (least, most) {
        (Some(least), Some(most)) => {
            let part = 1 + draw.below(PARTS - 1);
            least + (most - least) * part as f64 / PARTS as f64
        }
        (Some(least), None) => least + 1.0 + float.abs(),
        (None, Some(most)) => most - 1.0 - float.abs(),
        (None, None) => float,
    };
    match of("multiple_of") {
        Some(step) => {
            let below = (between / step).floor() * step;
            if least.is_some_and(|least| below < least) {
                below + step
            } else {
                below
            }
        }
        None => between,
    }
}

fn text_of(text: String, constraints: &[Constraint], draw: &mut Draw) -> String {
    let pattern = constraints
        .iter()
        .find(|constraint| constraint.name() == "pattern");
    let pattern = pattern.and_then(|pattern| pattern.bound().as_str().map(regex_syntax::parse));
    let mut text = match pattern {
        Some(Ok(pattern)) => {
            let mut matching = String::new();
            add_matching(&pattern, &mut matching, draw);
            matching
        }
        _ => text,
    };
    let length = |name: &str| bound(constraints, name).map(|length| length as usize);
    let letters = (b'a'..=b'z').map(char::from).cycle();
    let least = length("min_length").unwrap_or(0).min(LONGEST);
    let missing = least.saturating_sub(text.chars().count());
    text.extend(letters.take(missing));
    match length("max_length") {
        Some(most) => text.chars().take(most).collect(),
        None => text,
    }
}

/// Appends a text that matches the pattern, apart from its assertions.
fn add_matching(pattern: &Hir, text: &mut String, draw: &mut Draw) {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges();
            if let Some(range) = draw.pick(ranges) {
                let (start, end) = (u32::from(range.start()), u32::from(range.end()));
                let drawn = start + draw.below((end - start) as usize + 1) as u32;
                // Half of a surrogate pair is no character.
                text.push(char::from_u32(drawn).unwrap_or(range.start()));
            }
        }
        HirKind::Class(Class::Bytes(_)) => {}
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min.saturating_add(MORE));
            let most = most.min(repetition.min.saturating_add(MORE));
            let times = repetition.min + draw.below((most - repetition.min) as usize + 1) as u32;
            for _ in 0..times {
                add_matching(&repetition.sub, text, draw);
            }
        }
        HirKind::Capture(capture) => add_matching(&capture.sub, text, draw),
        HirKind::Concat(parts) => {
            for part in parts {
                add_matching(part, text, draw);
            }
        }
        HirKind::Alternation(parts) => {
            if let Some(part) = draw.pick(parts) {
                add_matching(part, text, draw);
            }
        }
    }
}
