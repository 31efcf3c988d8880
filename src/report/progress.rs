//! Shows a phase's progress: on a terminal as one line that changes, otherwise as occasional log lines.

use super::common_failure::CommonFailure;
use super::counts::OutcomeCounts;
use super::eta::{eta_seconds, rate_and_eta};
use super::figures::{count, dollars, percent, short, time};
use crate::lm::Price;
use crate::lock::lock;
use crate::telemetry::is_live;
use crate::terminal_text::terminal_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::info;

/// The first pause between two log lines. In a long phase the pause is a tenth of the phase's time so far.
const LOG_FIRST: Duration = Duration::from_secs(5);

/// The longest pause between two log lines.
const LOG_LAST: Duration = Duration::from_secs(600);

/// The line of the bootstrap phase on a terminal.
const BOOTSTRAP_LINE: &str = "bootstrap {wide_bar} {msg}";

/// The same above what limits the run.
const BOOTSTRAP_LINE_AND_REASONS: &str = "bootstrap {wide_bar} {msg}\n  {prefix}";

/// How often the terminal's line changes.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The most characters of a text about limits or failures: a line of a terminal.
const SHOWN_CHARS: usize = 100;

/// What the bootstrap phase does at the moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootstrapState<'a> {
    /// Tasks that ended per second in the last minute.
    pub rate: f64,
    /// What limits the run, a text for each LM that does.
    pub limits: &'a [String],
    /// The failure that most failed tasks have in common.
    pub commonest_failure: Option<&'a CommonFailure>,
}

impl BootstrapState<'_> {
    /// Why the run is slow, or loses examples. Empty if neither is known.
    fn reasons(&self) -> Vec<String> {
        let failure = self.commonest_failure.map(|failure| format!("failed: {failure}"));
        let reasons = self.limits.iter().cloned().chain(failure);
        reasons.map(|reason| one_line(&reason)).collect()
    }
}

/// The first [`SHOWN_CHARS`] characters.
fn one_line(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The progress of the current phase, on stderr.
pub struct Progress {
    prices: HashMap<String, Price>,
    terminal: bool,
    /// Locked a few times a second by one task; never across an await.
    phase: Mutex<Option<LivePhase>>,
}

/// The current phase.
struct LivePhase {
    bar: ProgressBar,
    total: usize,
    /// How many tasks were done when the phase started.
    before: usize,
    started: Instant,
    shown_at: Instant,
    /// The last log line, which is not repeated.
    last_line: Option<String>,
}

impl LivePhase {
    fn log_every(&self) -> Duration {
        log_every(self.started.elapsed())
    }
}

/// The pause after a log line in a phase that has taken this long so far. A day's work gives less than 200 lines.
fn log_every(so_far: Duration) -> Duration {
    (so_far / 10).clamp(LOG_FIRST, LOG_LAST)
}

impl Progress {
    /// `prices` are those of the LMs, by name. An LM without a price makes the cost unknown.
    pub fn new(prices: HashMap<String, Price>) -> Progress {
        Progress {
            prices,
            terminal: is_live(),
            phase: Mutex::new(None),
        }
    }

    /// Prints a note above the live line, or logs it.
    pub fn note(&self, text: &str) {
        match &*self.lock() {
            Some(phase) if self.terminal => phase.bar.println(terminal_text(text)),
            _ => info!("{text}"),
        }
    }

    /// Starts the bootstrap phase, with the outcomes of earlier processes.
    pub fn bootstrap_starts(&self, total: usize, counts: &OutcomeCounts) {
        let bar = self.bar(total, BOOTSTRAP_LINE);
        let now = Instant::now();
        let shown_at = if self.terminal {
            now.checked_sub(DRAW_EVERY).unwrap_or(now)
        } else {
            now
        };
        *self.lock() = Some(LivePhase {
            bar,
            total,
            before: counts.done(),
            started: now,
            shown_at,
            last_line: None,
        });
    }

    /// Shows the progress of the bootstrap phase, if that is due.
    pub fn bootstrap(&self, counts: &OutcomeCounts, state: BootstrapState<'_>) {
        let mut phase = self.lock();
        let Some(phase) = phase.as_mut() else { return };
        let every = if self.terminal {
            DRAW_EVERY
        } else {
            phase.log_every()
        };
        if phase.shown_at.elapsed() < every {
            return;
        }
        phase.shown_at = Instant::now();
        let line = self.line(phase.total, Some(state.rate), counts);
        let reasons = state.reasons();
        if self.terminal {
            phase.bar.set_position(counts.done() as u64);
            phase.bar.set_style(style(if reasons.is_empty() {
                BOOTSTRAP_LINE
            } else {
                BOOTSTRAP_LINE_AND_REASONS
            }));
            phase
                .bar
                .set_prefix(terminal_text(&reasons.join("\n  ")).into_owned());
            phase.bar.set_message(line);
        } else {
            let parts: Vec<String> = std::iter::once(line).chain(reasons).collect();
            info!("bootstrap {}", parts.join("; "));
        }
    }

    /// Ends the bootstrap phase with a log line.
    pub fn bootstrap_ends(&self, counts: &OutcomeCounts) {
        if let Some(phase) = self.lock().take() {
            phase.bar.finish_and_clear();
            if counts.done() > phase.before {
                let took = time(phase.started.elapsed());
                let line = self.line(phase.total, None, counts);
                info!("bootstrap {line} in {took}");
            }
        }
    }

    /// Shows the progress of the fine-tune jobs: how many have ended, how many there are, and a line for each open one.
    pub fn training(&self, (ended, all): (usize, usize), open: &[String]) {
        let mut phase = self.lock();
        let now = Instant::now();
        let phase = phase.get_or_insert_with(|| LivePhase {
            bar: self.bar(all, "fine-tune {msg}"),
            total: all,
            before: ended,
            started: now,
            shown_at: now.checked_sub(LOG_FIRST).unwrap_or(now),
            last_line: None,
        });
        let line = match open {
            [] => format!("{ended} of {all} jobs"),
            open => format!("{ended} of {all} jobs; {}", open.join("; ")),
        };
        if self.terminal {
            phase.bar.set_position(ended as u64);
            phase.bar.set_message(terminal_text(&line).into_owned());
            return;
        }
        let is_due = phase.shown_at.elapsed() >= phase.log_every() && !open.is_empty();
        if is_due && phase.last_line.as_ref() != Some(&line) {
            info!("fine-tune {line}");
            (phase.shown_at, phase.last_line) = (now, Some(line));
        }
    }

    /// Ends the phase of the fine-tune jobs.
    pub fn training_ends(&self) {
        if let Some(phase) = self.lock().take() {
            phase.bar.finish_and_clear();
        }
    }

    fn bar(&self, total: usize, template: &str) -> ProgressBar {
        let target = if self.terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        bar.set_style(style(template));
        bar
    }

    /// Without a rate where the phase has ended.
    fn line(&self, total: usize, rate: Option<f64>, counts: &OutcomeCounts) -> String {
        let done = counts.done();
        let mut line = format!("{}/{}", count(done as u64), count(total as u64));
        if let Some(rate) = rate {
            let left = total.saturating_sub(done);
            line.push_str(&format!(" {}", rate_and_eta(rate, eta_seconds(left, rate))));
        }
        line.push_str(&format!(" kept {}", percent(counts.kept, counts.traces)));
        if counts.failed() > 0 {
            line.push_str(&format!(" failed {}", count(counts.failed() as u64)));
        }
        line.push_str(&format!(
            " tokens {} cost {}",
            short(counts.tokens()),
            dollars(counts.cost(&self.prices))
        ));
        line
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<LivePhase>> {
        lock(&self.phase)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a fixed template")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(hours: u64) -> usize {
        let (mut at, mut lines) = (Duration::ZERO, 0);
        while at < Duration::from_secs(hours * 3600) {
            at += log_every(at);
            lines += 1;
        }
        lines
    }

    #[test]
    fn reasons_are_the_limits_and_the_commonest_failure_on_a_line_each() {
        assert!(BootstrapState::default().reasons().is_empty());
        let failure = CommonFailure {
            kind: "parse".to_owned(),
            message: "no field `label`".to_owned(),
            failures: 412,
            example: 1803,
        };
        let limits = [
            "teacher: limited to 98/s by the server (429), 3 % refused".to_owned(),
            "x".repeat(200),
        ];
        let state = BootstrapState {
            rate: 1.0,
            limits: &limits,
            commonest_failure: Some(&failure),
        };
        let long = "x".repeat(100) + "…";
        let failed = "failed: 412 × no field `label` (example 1803)";
        assert_eq!(state.reasons(), [limits[0].as_str(), long.as_str(), failed]);
    }

    #[test]
    fn log_every_gives_some_lines_a_minute_and_few_lines_a_day() {
        assert_eq!(log_every(Duration::from_secs(20)), Duration::from_secs(5));
        assert_eq!(log_every(Duration::from_secs(600)), Duration::from_secs(60));
        assert!(lines(1) < 60, "{}", lines(1));
        assert!(lines(24) < 200, "{}", lines(24));
    }
}
