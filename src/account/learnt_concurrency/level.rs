//! What was measured with one number of requests in flight, and how two such measurements compare.

use tokio::time::Instant;

/// What was measured with one number of requests in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) in_flight: u64,
    /// Answers of the reference length a second.
    pub(super) throughput: f64,
    /// Seconds for an answer of the reference length.
    pub(super) slowness: f64,
    /// The mean latency in seconds, whatever the length.
    pub(super) latency: f64,
    /// The relative variance of throughput and slowness.
    pub(super) variance: f64,
}

/// The relative change of the throughput for a relative change of what is in flight: 1 where the server has room, 0 where it is
/// saturated, negative where it thrashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elasticity {
    pub(super) value: f64,
    /// The standard deviation of `value`.
    deviation: f64,
}

/// The standard deviation of a good measurement, and of one that is of some use.
const PRECISE: f64 = 0.05;
const ROUGH: f64 = 0.2;

impl Level {
    /// From one of two levels to the other, in either order; `None` if they do not differ.
    pub(super) fn elasticity(&self, other: &Level) -> Option<Elasticity> {
        if self.in_flight == other.in_flight {
            return None;
        }
        let step = (self.in_flight as f64 / other.in_flight as f64).ln();
        Some(Elasticity {
            value: (self.throughput / other.throughput).ln() / step,
            deviation: (self.variance + other.variance).sqrt() / step.abs(),
        })
    }

    /// The slowness in relation to another one, as far as it is certain.
    pub(super) fn slowdown(&self, slowness: f64) -> f64 {
        self.slowness / slowness / (1.0 + self.variance.sqrt())
    }

    /// Whether a difference of a few percent is one.
    pub(super) fn is_precise(&self) -> bool {
        self.variance < PRECISE * PRECISE
    }

    /// Whether a difference of a half is one.
    pub(super) fn is_rough(&self) -> bool {
        self.variance < ROUGH * ROUGH
    }
}

impl Elasticity {
    /// Whether it is above, by so many standard deviations.
    pub(super) fn is_above(&self, bound: f64, deviations: f64) -> bool {
        self.value - deviations * self.deviation > bound
    }

    pub(super) fn is_below(&self, bound: f64, deviations: f64) -> bool {
        self.value + deviations * self.deviation < bound
    }
}

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) secs: f64,
    /// Its length in relation to the reference, as the latency depends on it.
    pub(super) weight: f64,
    /// Whether its request was sent in this round.
    pub(super) is_of_round: bool,
}

/// A measurement. First come the answers to requests that are sent at once when more are let through: their latencies show early whether
/// the server has room. After one answer for each place the throughput has settled and is measured.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) began: Instant,
    in_flight: u64,
    early: Sums,
    /// Answers before the throughput has settled.
    warm_up: u64,
    steady: Sums,
    steady_since: Instant,
}

/// What one more answer has shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum RoundProgress {
    Nothing,
    /// By the latencies of the first answers.
    Early(Level),
    /// By the throughput over so many answers, as many for each place.
    Steady {
        level: Level,
        answers: u64,
    },
}

/// The fewest answers that show something.
const LEAST_EARLY: f64 = 8.0;
const LEAST_STEADY: u64 = 16;

/// The standard deviation of latencies of one length that are much the same: by Little's law their mean gives the throughput. Of others
/// the long ones come too late to be counted, and the throughput itself is the better measure.
const ALIKE: f64 = 0.35;

impl Round {
    pub(super) fn new(in_flight: u64, now: Instant) -> Round {
        Round {
            began: now,
            in_flight,
            early: Sums::default(),
            warm_up: in_flight,
            steady: Sums::default(),
            steady_since: now,
        }
    }

    pub(super) fn add(&mut self, sample: Sample, now: Instant) -> RoundProgress {
        let mut progress = RoundProgress::Nothing;
        let early = (self.in_flight as f64 / 2.0).max(LEAST_EARLY);
        if sample.is_of_round && self.early.count < early {
            self.early.add(sample);
            if self.early.count >= early {
                let throughput = self.in_flight as f64 / self.early.slowness();
                progress = RoundProgress::Early(self.early.level(self.in_flight, throughput));
            }
        }
        if self.warm_up > 0 {
            self.warm_up -= 1;
            self.steady_since = now;
            return progress;
        }
        self.steady.add(sample);
        let answers = self.steady.count as u64;
        if matches!(progress, RoundProgress::Nothing)
            && answers >= LEAST_STEADY
            && answers.is_multiple_of(self.in_flight)
        {
            let secs = now.saturating_duration_since(self.steady_since).as_secs_f64();
            let counted = self.steady.weight / secs.max(1e-9);
            let level = self.steady.level(self.in_flight, counted);
            let throughput = if level.variance * self.steady.count < ALIKE * ALIKE {
                self.in_flight as f64 / level.slowness
            } else {
                counted
            };
            let level = Level { throughput, ..level };
            progress = RoundProgress::Steady { level, answers };
        }
        progress
    }

    /// Too few were in flight meanwhile: measures again.
    pub(super) fn interrupt(&mut self, now: Instant) {
        self.steady = Sums::default();
        self.steady_since = now;
    }
}

#[derive(Debug, Default)]
struct Sums {
    count: f64,
    secs: f64,
    weight: f64,
    secs_squared: f64,
    weight_squared: f64,
    product: f64,
}

impl Sums {
    fn add(&mut self, sample: Sample) {
        self.count += 1.0;
        self.secs += sample.secs;
        self.weight += sample.weight;
        self.secs_squared += sample.secs * sample.secs;
        self.weight_squared += sample.weight * sample.weight;
        self.product += sample.secs * sample.weight;
    }

    fn slowness(&self) -> f64 {
        // A latency below the clock's resolution is one all the same.
        self.secs.max(1e-9) / self.weight.max(1e-9)
    }

    fn level(&self, in_flight: u64, throughput: f64) -> Level {
        let slowness = self.slowness();
        let residuals =
            self.secs_squared - 2.0 * slowness * self.product + slowness * slowness * self.weight_squared;
        Level {
            in_flight,
            throughput,
            slowness,
            latency: self.secs / self.count,
            variance: residuals.max(0.0) / (self.secs * self.secs).max(1e-18),
        }
    }
}
