//! Whether the process lives and whether it can take work: what `/healthz` and `/readyz` say.

use super::Service;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a loop that gets its turn says so.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// After how long without a turn something is wrong. Longer than an fsync or a sort holds up a loop on a slow disk.
const STUCK: Duration = Duration::from_secs(60);

/// What a process needs before it can take work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A service that answers.
    Service(Service),
    /// A coordinator that has the run and knows what is to be done.
    Coordinator,
    /// A worker that listens to its lanes.
    Worker,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Service(service) => service.name(),
            Need::Coordinator => "coordinator",
            Need::Worker => "worker",
        })
    }
}

/// The health of a process.
#[derive(Default)]
pub struct Health {
    /// What is missing of each need, in words; none: nothing.
    needs: Mutex<BTreeMap<Need, Option<String>>>,
    watchdogs: Mutex<Vec<Weak<LastTurn>>>,
}

/// The turns of one loop.
struct LastTurn {
    /// Whose.
    name: &'static str,
    last: Mutex<Instant>,
}

/// A loop that should go on getting its turn, until this is dropped.
pub struct Watchdog(Arc<LastTurn>);

impl Health {
    /// The process cannot take work before it has this.
    pub fn needs(&self, need: Need) {
        let why = match need {
            Need::Service(_) => "not connected yet",
            Need::Coordinator | Need::Worker => "not started yet",
        };
        self.set(need, Some(why.to_owned()));
    }

    /// It has it.
    pub fn has(&self, need: Need) {
        self.set(need, None);
    }

    /// It lacks it, for that reason.
    pub fn lacks(&self, need: Need, why: String) {
        self.set(need, Some(why));
    }

    /// Why it cannot take work, a reason each; none: it can.
    pub fn missing(&self) -> Vec<String> {
        let needs = lock(&self.needs);
        let missing = needs.iter().filter_map(|(need, why)| Some((need, why.as_ref()?)));
        missing.map(|(need, why)| format!("{need}: {why}")).collect()
    }

    /// A loop starts.
    pub fn watchdog(&self, name: &'static str) -> Watchdog {
        let turn = Arc::new(LastTurn {
            name,
            last: Mutex::new(Instant::now()),
        });
        let mut watchdogs = lock(&self.watchdogs);
        watchdogs.retain(|watchdog| watchdog.strong_count() > 0);
        watchdogs.push(Arc::downgrade(&turn));
        Watchdog(turn)
    }

    /// The loops that have had no turn for too long, a reason each; none: the process lives.
    pub fn stuck(&self) -> Vec<String> {
        let watchdogs = lock(&self.watchdogs);
        let silent = watchdogs.iter().filter_map(Weak::upgrade).filter_map(|turn| {
            let silent = lock(&turn.last).elapsed();
            (silent > STUCK).then(|| {
                format!(
                    "{}: its loop has not turned for {} s",
                    turn.name,
                    silent.as_secs()
                )
            })
        });
        silent.collect()
    }

    fn set(&self, need: Need, why: Option<String>) {
        lock(&self.needs).insert(need, why);
    }
}

impl Watchdog {
    /// LastTurn for as long as it is polled: to be polled by the task that does the work, beside it.
    pub async fn keep_alive(&self) -> Infallible {
        loop {
            *lock(&self.0.last) = Instant::now();
            sleep(TURN_EVERY).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_missing_until_it_is_there() {
        let health = Health::default();
        assert!(health.missing().is_empty());
        health.needs(Need::Service(Service::Redis));
        health.needs(Need::Worker);
        assert_eq!(
            health.missing(),
            ["redis: not connected yet", "worker: not started yet"]
        );
        health.has(Need::Worker);
        health.lacks(Need::Service(Service::Redis), "gone".to_owned());
        assert_eq!(health.missing(), ["redis: gone"]);
        health.has(Need::Service(Service::Redis));
        assert!(health.missing().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_is_not_polled_is_stuck_after_a_minute_and_well_when_it_turns_again() {
        let health = Health::default();
        let watchdog = health.watchdog("worker");
        tokio::select! {
            never = watchdog.keep_alive() => match never {},
            () = sleep(STUCK * 3) => {}
        }
        assert!(health.stuck().is_empty());
        sleep(STUCK + TURN_EVERY).await;
        let stuck = health.stuck();
        assert!(
            stuck.len() == 1 && stuck[0].starts_with("worker: its loop has not turned for "),
            "{stuck:?}"
        );
        tokio::select! {
            biased;
            never = watchdog.keep_alive() => match never {},
            () = std::future::ready(()) => {}
        }
        assert!(health.stuck().is_empty());
        sleep(STUCK * 2).await;
        drop(watchdog);
        assert!(health.stuck().is_empty(), "what has ended need not turn");
    }
}
