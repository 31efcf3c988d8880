//! Formats numbers for people.

pub(crate) use crate::python::text::grouped as count;

use std::time::Duration;

/// `950`, `12.3k`, `4.56M`.
pub(crate) fn short(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{:.1}k", n as f64 / 1e3),
        _ => format!("{:.2}M", n as f64 / 1e6),
    }
}

/// `$0.0042`, `$12.30`; `?` if the price is unknown.
pub(crate) fn dollars(cost: Option<f64>) -> String {
    match cost {
        None => "?".to_owned(),
        // An empty sum is -0.0.
        Some(0.0) => "$0.00".to_owned(),
        Some(cost) if cost >= 1.0 => format!("${cost:.2}"),
        Some(cost) => format!("${cost:.4}"),
    }
}

/// `0.4s`, `42s`, `3m07s`, `2h05m`.
pub(crate) fn time(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{secs}s"),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        _ => format!("{}h{:02}m", secs / 3600, secs % 3600 / 60),
    }
}

/// `87.5 %`; `-` if `whole` is 0.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        "-".to_owned()
    } else {
        format!("{:.1} %", 100.0 * part as f64 / whole as f64)
    }
}
