//! How long a test takes, how much it does, and the seed: short unless the environment sets them.

use std::str::FromStr;
use std::time::Duration;

/// What a run through faults is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Decides which faults come, when, and to whom.
    pub(crate) seed: u64,
    pub(crate) faults: usize,
    pub(crate) examples: usize,
}

impl Settings {
    /// From the environment; `tests/faults/run.sh` sets it.
    pub(crate) fn read() -> Settings {
        Settings {
            seed: from_env("BSFT_FAULTS_SEED", 7),
            faults: from_env("BSFT_FAULTS", 10),
            examples: from_env("BSFT_FAULTS_EXAMPLES", 600),
        }
    }
}

/// How long a worker is cut off: longer than any sign of life of its lasts.
pub(crate) fn cut() -> Duration {
    Duration::from_secs(from_env("BSFT_FAULTS_CUT_SECS", 20))
}

fn from_env<T: FromStr>(name: &str, default: T) -> T {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
        Err(_) => default,
    }
}
