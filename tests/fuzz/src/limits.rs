//! What a reader may take for one input: time and memory.

use rustix::time::{ClockId, clock_gettime};
use std::fs;
use std::time::Duration;

/// The most processor time for one input.
const MOST_TIME: Duration = Duration::from_secs(1);

/// The most memory in KiB that the process may have used after an input.
const MOST_KIB: u64 = 256 << 10;

/// The most that a series of inputs has taken.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    slowest: Duration,
    peak_kib: u64,
}

impl Limits {
    /// Does `work` for one input, on this thread.
    ///
    /// # Errors
    ///
    /// What it took too much of.
    pub(crate) fn hold(&mut self, work: impl FnOnce()) -> Result<(), String> {
        let began = processor_time();
        work();
        self.slowest = self.slowest.max(processor_time() - began);
        self.peak_kib = self.peak_kib.max(peak_kib());
        match self {
            Limits { slowest, .. } if *slowest > MOST_TIME => Err(format!("took {slowest:?}")),
            Limits { peak_kib, .. } if *peak_kib > MOST_KIB => Err(format!("took up to {peak_kib} KiB")),
            _ => Ok(()),
        }
    }

    /// Prints what the inputs took at most.
    #[expect(clippy::print_stdout, reason = "a test that passes has no other report")]
    pub(crate) fn report(&self, target: &str, inputs: u32) {
        let Limits { slowest, peak_kib } = self;
        println!(
            "{target}: {inputs} inputs, at most {} ms each, {} MiB in all",
            slowest.as_millis(),
            peak_kib >> 10
        );
    }
}

/// The processor time of this thread. Other tests and a busy machine do not count.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// The most memory that this process has used, in KiB; 0 where the system does not say.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |line| line.trim_end_matches("kB").trim().parse().unwrap())
}
