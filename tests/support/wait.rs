//! Waiting for something to become true.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest that anything in these tests may take, on a machine that does much else. Only a test that would never end gets
/// there: what a test expects hangs on no speed.
const DEADLINE: Duration = Duration::from_secs(180);

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks again and again until there is a value; panics, naming what was waited for, when there is none in time.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(
            started.elapsed() < DEADLINE,
            "waited {DEADLINE:?} for {what}, in vain"
        );
        sleep(LOOK_EVERY);
    }
}
