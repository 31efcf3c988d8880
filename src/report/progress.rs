//! The live line of a phase: on a terminal one line that changes, elsewhere a log line every few seconds.

use super::counts::OutcomeCounts;
use super::figures::{count, dollars, percent, short, time};
use crate::lm::Price;
use crate::telemetry::is_live;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::info;

/// How soon a log line tells how far things are; later in a long phase, after each further tenth of the time that it has taken.
const LOG_FIRST: Duration = Duration::from_secs(5);

/// The longest that a phase goes on without one.
const LOG_LAST: Duration = Duration::from_secs(600);

/// How often the terminal's line changes.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// Told by the coordinator, read by a person.
pub struct Progress {
    prices: HashMap<String, Price>,
    terminal: bool,
    /// Touched a few times a second by one task; never held across an await.
    phase: Mutex<Option<LivePhase>>,
}

/// The phase that goes on.
struct LivePhase {
    bar: ProgressBar,
    total: usize,
    /// Done when the phase started: the rate is of this process.
    before: usize,
    started: Instant,
    told: Instant,
    /// The last log line: the same again is no news.
    said: Option<String>,
}

impl LivePhase {
    fn log_every(&self) -> Duration {
        log_every(self.started.elapsed())
    }
}

/// How long after the last line the next one is due, in a phase that has gone on for so long: a day's work is told in a hundred and some.
fn log_every(gone_on: Duration) -> Duration {
    (gone_on / 10).clamp(LOG_FIRST, LOG_LAST)
}

impl Progress {
    /// Progress on stderr: live where that is a terminal.
    pub fn new(prices: HashMap<String, Price>) -> Progress {
        Progress {
            prices,
            terminal: is_live(),
            phase: Mutex::new(None),
        }
    }

    /// Prints above the live line.
    pub fn note(&self, text: &str) {
        match &*self.lock() {
            Some(phase) if self.terminal => phase.bar.println(text),
            _ => info!("{text}"),
        }
    }

    /// The bootstrap phase starts, with what earlier processes have done.
    pub fn bootstrap_starts(&self, total: usize, counts: &OutcomeCounts) {
        let bar = self.bar(total, "bootstrap {wide_bar} {msg}");
        let now = Instant::now();
        let told = if self.terminal {
            now.checked_sub(DRAW_EVERY).unwrap_or(now)
        } else {
            now
        };
        *self.lock() = Some(LivePhase {
            bar,
            total,
            before: counts.done(),
            started: now,
            told,
            said: None,
        });
    }

    /// The bootstrap phase goes on.
    pub fn bootstrap(&self, counts: &OutcomeCounts) {
        let mut phase = self.lock();
        let Some(phase) = phase.as_mut() else { return };
        let every = match self.terminal {
            true => DRAW_EVERY,
            false => phase.log_every(),
        };
        if phase.told.elapsed() < every {
            return;
        }
        phase.told = Instant::now();
        let line = self.line(phase, counts);
        if self.terminal {
            phase.bar.set_position(counts.done() as u64);
            phase.bar.set_message(line);
        } else {
            info!("bootstrap {line}");
        }
    }

    /// The bootstrap phase is over.
    pub fn bootstrap_ends(&self, counts: &OutcomeCounts) {
        if let Some(phase) = self.lock().take() {
            phase.bar.finish_and_clear();
            let made = counts.done().saturating_sub(phase.before);
            if made > 0 {
                let took = time(phase.started.elapsed());
                info!("bootstrap {} in {took}", self.line(&phase, counts));
            }
        }
    }

    /// Fine-tune jobs go on: how many have ended, of how many, and what the others say of themselves.
    pub fn training(&self, (ended, all): (usize, usize), open: &[String]) {
        let mut phase = self.lock();
        let now = Instant::now();
        let phase = phase.get_or_insert_with(|| LivePhase {
            bar: self.bar(all, "fine-tune {msg}"),
            total: all,
            before: ended,
            started: now,
            told: now.checked_sub(LOG_FIRST).unwrap_or(now),
            said: None,
        });
        let line = match open {
            [] => format!("{ended} of {all} jobs"),
            open => format!("{ended} of {all} jobs; {}", open.join("; ")),
        };
        if self.terminal {
            phase.bar.set_position(ended as u64);
            phase.bar.set_message(line);
            return;
        }
        let is_due = phase.told.elapsed() >= phase.log_every() && !open.is_empty();
        if is_due && phase.said.as_ref() != Some(&line) {
            info!("fine-tune {line}");
            (phase.told, phase.said) = (now, Some(line));
        }
    }

    /// No fine-tune job goes on any more.
    pub fn training_ends(&self) {
        if let Some(phase) = self.lock().take() {
            phase.bar.finish_and_clear();
        }
    }

    fn bar(&self, total: usize, template: &str) -> ProgressBar {
        let target = match self.terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        bar.set_style(ProgressStyle::with_template(template).expect("a fixed template"));
        bar
    }

    fn line(&self, phase: &LivePhase, counts: &OutcomeCounts) -> String {
        let done = counts.done();
        let secs = phase.started.elapsed().as_secs_f64().max(1e-3);
        let rate = (done.saturating_sub(phase.before)) as f64 / secs;
        let left = phase.total.saturating_sub(done);
        let eta = match rate {
            rate if rate > 0.0 => time(Duration::from_secs_f64((left as f64 / rate).min(1e9))),
            _ => "?".to_owned(),
        };
        let mut line = format!(
            "{}/{} {rate:.0}/s eta {eta} kept {}",
            count(done as u64),
            count(phase.total as u64),
            percent(counts.kept, counts.traces),
        );
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
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    fn a_minute_is_told_every_few_seconds_and_a_day_in_few_lines() {
        assert_eq!(log_every(Duration::from_secs(20)), Duration::from_secs(5));
        assert_eq!(log_every(Duration::from_secs(600)), Duration::from_secs(60));
        assert!(lines(1) < 60, "{}", lines(1));
        assert!(lines(24) < 200, "{}", lines(24));
    }
}
