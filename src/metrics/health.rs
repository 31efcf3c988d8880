//! Liveness and readiness of the process, as `/healthz` and `/readyz` report them.

use super::Service;
use crate::lock::lock;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval at which a running loop updates its watchdog.
const TURN_EVERY: Duration = Duration::from_secs(5);

/// A loop that did not update its watchdog for this long is stuck. Longer than an fsync or a sort on a slow disk.
const STUCK: Duration = Duration::from_secs(60);

/// What a process needs before it can take work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A service that answers.
    Service(Service),
    /// A coordinator that leads the run and has read its state.
    Coordinator,
    /// A worker that consumes its queues.
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
    /// Why each need is missing; `None` if it is met.
    needs: Mutex<BTreeMap<Need, Option<String>>>,
    watchdogs: Mutex<Vec<Weak<LastTurn>>>,
}

/// When a loop last ran.
struct LastTurn {
    name: &'static str,
    last: Mutex<Instant>,
}

/// Watches a loop until it is dropped: the process is unhealthy when the loop is stuck.
pub struct Watchdog(Arc<LastTurn>);

impl Health {
    /// Declares a need; the process is not ready until [`Health::has`] is called for it.
    pub fn needs(&self, need: Need) {
        let why = match need {
            Need::Service(_) => "not connected yet",
            Need::Coordinator | Need::Worker => "not started yet",
        };
        self.set(need, Some(why.to_owned()));
    }

    /// Marks the need as met.
    pub fn has(&self, need: Need) {
        self.set(need, None);
    }

    /// Marks the need as missing, with the reason `why`.
    pub fn lacks(&self, need: Need, why: String) {
        self.set(need, Some(why));
    }

    /// The needs that are missing, with reasons. Empty if the process is ready.
    pub fn missing(&self) -> Vec<String> {
        let needs = lock(&self.needs);
        let missing = needs.iter().filter_map(|(need, why)| Some((need, why.as_ref()?)));
        missing.map(|(need, why)| format!("{need}: {why}")).collect()
    }

    /// Starts to watch a loop; the name appears in [`Health::stuck`].
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

    /// The loops that are stuck, with the time since they last ran. Empty if the process is alive.
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
    /// Updates the watchdog while it is polled. The task of the loop has to poll it, in a `select!`.
    pub async fn keep_alive(&self) -> Infallible {
        loop {
            *lock(&self.0.last) = Instant::now();
            sleep(TURN_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_lists_needs_until_has_is_called() {
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
    async fn stuck_lists_a_loop_that_was_not_polled_for_a_minute() {
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
        assert!(health.stuck().is_empty(), "a dropped watchdog watches nothing");
    }
}
