//! The faults that hit a cluster, in an order that the seed decides.

use crate::faults::settings::Settings;
use std::ops::Range;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// kill -9, and another is started.
    WorkerKilled,
    /// SIGTERM: it drains and ends with 0, and another is started.
    WorkerDrained,
    /// SIGSTOP until others have its tasks, then SIGCONT: it continues with the tasks that it no longer has.
    WorkerAsleep,
    /// kill -9, and the same command is run again.
    CoordinatorKilled,
    /// kill -9, and it is started on what it kept.
    BrokerKilled,
    /// kill -9, its data removed, and it is started on nothing.
    BrokerWiped,
    /// kill -9, and it is started on what it kept.
    RedisKilled,
    /// A power failure: it is started on what it had written a second before.
    RedisLosesASecond,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = SHARES.len();

/// Every kind, with how often it comes in the long run, of a hundred.
const SHARES: [(Fault, usize); 8] = [
    (Fault::WorkerKilled, 36),
    (Fault::WorkerDrained, 18),
    (Fault::WorkerAsleep, 4),
    (Fault::CoordinatorKilled, 14),
    (Fault::BrokerKilled, 8),
    (Fault::BrokerWiped, 2),
    (Fault::RedisKilled, 11),
    (Fault::RedisLosesASecond, 7),
];

/// The part of the questions during which faults come: before, nothing is in hand; after, nothing could be seen of a recovery.
const CHAOTIC: Range<f64> = 0.05..0.8;

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fault::WorkerKilled => "worker kill -9",
            Fault::WorkerDrained => "worker SIGTERM",
            Fault::WorkerAsleep => "worker SIGSTOP, SIGCONT",
            Fault::CoordinatorKilled => "coordinator kill -9",
            Fault::BrokerKilled => "RabbitMQ kill -9",
            Fault::BrokerWiped => "RabbitMQ wiped",
            Fault::RedisKilled => "Redis kill -9",
            Fault::RedisLosesASecond => "Redis loses a second",
        }
    }
}

/// A fault and its moment: how many of all questions are to have been asked, at least.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) asked: usize,
    pub(crate) fault: Fault,
}

/// The moments of a run with the given number of questions, in order.
pub(crate) fn moments(settings: Settings, questions: usize, random: &mut fastrand::Rng) -> Vec<Moment> {
    let urn: Vec<Fault> = SHARES
        .iter()
        .flat_map(|(fault, share)| std::iter::repeat_n(*fault, *share))
        .collect();
    let every_kind = SHARES.iter().map(|(fault, _)| *fault);
    let drawn = std::iter::repeat_with(|| urn[random.usize(..urn.len())]);
    let mut faults: Vec<Fault> = every_kind.chain(drawn).take(settings.faults).collect();
    random.shuffle(&mut faults);
    // The first sleeper is to wake while there is work left.
    if let Some(sleeper) = faults.iter().position(|fault| *fault == Fault::WorkerAsleep) {
        faults.swap(0, sleeper);
    }
    let mut places: Vec<f64> = faults
        .iter()
        .map(|_| CHAOTIC.start + random.f64() * (CHAOTIC.end - CHAOTIC.start))
        .collect();
    places.sort_by(f64::total_cmp);
    places
        .into_iter()
        .zip(faults)
        .map(|(place, fault)| Moment {
            asked: (place * questions as f64) as usize,
            fault,
        })
        .collect()
}
