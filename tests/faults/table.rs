//! What was survived, as a table for people.

use crate::faults::audit::{Audit, Cause};
use crate::faults::fault::Fault;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// A fault that came.
#[derive(Debug)]
pub(crate) struct Suffered {
    pub(crate) fault: Fault,
    /// From the fault to new questions, more than were in hand; none: the compile was over before.
    pub(crate) recovery: Option<Duration>,
}

impl Cause {
    fn name(self) -> &'static str {
        match self {
            Cause::Refused => "the LM server had refused (--fail-first)",
            Cause::NotRecorded => "no worker had recorded an answer",
            Cause::RecordLost => "Redis was killed right after the record",
            Cause::Overtaken => "another had taken the task meanwhile",
        }
    }
}

/// Prints it past the capture of a test that passes.
pub(crate) fn say(text: &str) {
    // An error here cannot be reported.
    let _ = writeln!(std::io::stderr(), "{text}");
}

pub(crate) fn print(seed: u64, suffered: &[Suffered], audit: &Audit, took: Duration) {
    let mut kinds: BTreeMap<Fault, Vec<f64>> = BTreeMap::new();
    for fault in suffered {
        let seconds = fault.recovery.map(|recovery| recovery.as_secs_f64());
        kinds.entry(fault.fault).or_default().extend(seconds);
    }
    let mut out = String::new();
    let mut line = |text: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(format!("\nseed {seed}, {:.0} s", took.as_secs_f64()));
    if !suffered.is_empty() {
        line(format!(
            "{:<26}{:>9}{:>24}{:>10}",
            "fault", "survived", "going on after s, mean", "longest"
        ));
    }
    for (kind, seconds) in &kinds {
        let times = suffered.iter().filter(|fault| fault.fault == *kind).count();
        let mean = seconds.iter().sum::<f64>() / seconds.len().max(1) as f64;
        let longest = seconds.iter().copied().fold(0.0, f64::max);
        line(format!(
            "{:<26}{times:>9}{mean:>24.1}{longest:>10.1}",
            kind.name()
        ));
    }
    if !suffered.is_empty() {
        line(format!("{:<26}{:>9}", "together", suffered.len()));
    }
    line(format!(
        "{} files, {} bytes: the same as without faults",
        audit.files.len(),
        audit.files.iter().sum::<usize>()
    ));
    line(format!(
        "examples accounted for once each: {} ({} traces, {} failures)",
        audit.traces + audit.failures,
        audit.traces,
        audit.failures
    ));
    line(format!("trainings started once each: {}", audit.trainings));
    line(format!(
        "questions: {}, asked {} times, {} records seen; asked again because",
        audit.questions, audit.requests, audit.recorded
    ));
    for (cause, times) in &audit.again {
        line(format!("  {:<48}{times:>6}", cause.name()));
    }
    line(format!("  {:<48}{:>6}", "of no cause", audit.wrong.len()));
    line(format!(
        "tasks of workers that slept or were cut off, taken by others meanwhile: {}",
        audit.taken_over
    ));
    line(format!(
        "processes that found a service away at their start, and were started again: {}",
        audit.came_too_early
    ));
    say(&out);
}
