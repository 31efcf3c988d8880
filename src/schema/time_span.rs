//! Lengths of time as users write them: `"90s"`, `"15m"`, `"1h"`, `"2d"`.

use super::definition::Kind;
use super::form::Form;
use super::{Item, Problems};
use std::time::Duration;

/// A whole number above 0 and a unit, for JSON Schema. [`parse`] accepts the same.
pub(super) const PATTERN: &str = "^0*[1-9][0-9]*[smhd]$";

/// What to write, for the reference and for problems.
pub(super) const DESCRIPTION: &str = "a whole number above 0 with the unit `s`, `m`, `h` or `d`, as a string: `\"90s\"`, `\"15m\"`, \
                                      `\"1h\"`, `\"2d\"`";

/// The longest span. A clock takes it from any starting point.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// A length of time.
pub(crate) struct TimeSpan;

impl Form for TimeSpan {
    type Output<'a> = Duration;

    fn read<'a>(&self, item: &Item<'a>, problems: &mut Problems) -> Option<Duration> {
        if !item.is_text() {
            return item.wrong("a length of time", "\"1h\"", problems);
        }
        let text = item.text(problems)?;
        let (message, remedy) = match parse(text) {
            Some(span) if span <= LONGEST => return Some(span),
            Some(_) => (
                format!("`{}` is `{text}`, which is longer than ten years", item.name),
                "write `\"3650d\"` or less".to_owned(),
            ),
            None => (
                format!("`{}` is `{text}`, which is no length of time", item.name),
                format!("write {DESCRIPTION}"),
            ),
        };
        item.place.report(problems, message, remedy);
        None
    }

    fn kind(&self) -> Kind {
        Kind::TimeSpan
    }
}

/// Parses a span. Spans of more seconds than fit become the longest `Duration`.
fn parse(text: &str) -> Option<Duration> {
    let (unit, secs) = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find(|(unit, _)| text.ends_with(unit))?;
    let digits = text.strip_suffix(unit)?;
    let has_value = digits.bytes().any(|digit| digit != b'0');
    if !has_value || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().unwrap_or(u64::MAX);
    Some(Duration::from_secs(number.saturating_mul(secs)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_accepts_a_whole_number_above_0_with_a_unit() {
        for (text, secs) in [
            ("90s", 90),
            ("15m", 900),
            ("1h", 3600),
            ("2d", 172_800),
            ("007s", 7),
        ] {
            assert_eq!(parse(text), Some(Duration::from_secs(secs)), "{text}");
        }
        for text in [
            "", "s", "1", "0s", "00h", "1.5h", "-1s", "+1s", "1 h", " 1h", "1h ", "1h30m", "5min", "1H",
            "1ms", "١s", "1é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let huge = format!("{}d", "9".repeat(40));
        assert!(parse(&huge).is_some_and(|span| span > LONGEST));
    }
}
