//! What workers write down with `BSFT_LOG=info,bsft::worker=trace`.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// A line of a log.
pub(crate) struct LogLine<'a> {
    /// Seconds since 1970.
    pub(crate) at: f64,
    words: &'a str,
}

impl LogLine<'_> {
    /// Whether its text contains this.
    pub(crate) fn contains(&self, what: &str) -> bool {
        self.words.contains(what)
    }

    /// The value of `name=value`.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> String {
        self.words
            .split_whitespace()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.words))
            .trim_matches('"')
            .to_owned()
    }
}

/// The lines that begin with a time; a killed process may have left half of its last.
pub(crate) fn read(text: &str) -> impl Iterator<Item = LogLine<'_>> {
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .filter_map(|line| {
            let (time, words) = line.split_once(' ')?;
            Some(LogLine {
                at: seconds(time)?,
                words,
            })
        })
}

/// The last lines of a file, for the message of a failed test.
pub(crate) fn tail(path: &Path) -> String {
    const LINES: usize = 25;
    const LINE: usize = 400;
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    let last = last
        .iter()
        .map(|line| line.chars().take(LINE).chain(['\n']).collect::<String>());
    format!("--- {}\n{}", path.display(), last.collect::<String>())
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// `2026-01-31T23:59:59.123456Z` in seconds since 1970.
fn seconds(time: &str) -> Option<f64> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut clock = clock.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    // Days from civil: years begin in March, so that the leap day is a year's last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    Some(days as f64 * 86_400.0 + hours * 3_600.0 + minutes * 60.0 + seconds)
}

#[test]
fn times_in_logs_are_seconds_since_1970() {
    for (time, wanted) in [
        ("1970-01-01T00:00:00.000000Z", 0.0),
        ("2000-02-29T12:00:00.500000Z", 951_825_600.5),
        ("2026-11-23T09:41:14.131533Z", 1_795_426_874.131_533),
    ] {
        assert_eq!(seconds(time), Some(wanted), "{time}");
    }
}
