//! The measurement of throughput and latency at one number of requests in flight, and the comparison of two measurements.

use tokio::time::Instant;

/// The measurement at one number of requests in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) in_flight: u64,
    /// Answers of the reference length per second.
    pub(super) throughput: f64,
    /// Seconds per answer of the reference length.
    pub(super) slowness: f64,
    /// The mean latency in seconds, over answers of any length.
    pub(super) latency: f64,
    /// The relative variance of throughput and slowness.
    pub(super) variance: f64,
}

/// The relative change of the throughput per relative change of the requests in flight. It is 1 where the server has room, 0 where it is
/// saturated, and negative where it thrashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elasticity {
    pub(super) value: f64,
    /// The standard deviation of `value`.
    deviation: f64,
}

/// The relative standard deviations below which a measurement counts as precise, and as rough.
const PRECISE: f64 = 0.05;
const ROUGH: f64 = 0.2;

impl Level {
    /// The elasticity between two levels, in either order. `None` if both have the same number of requests in flight.
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

    /// The slowness as a multiple of `slowness`, lowered by one standard deviation.
    pub(super) fn slowdown(&self, slowness: f64) -> f64 {
        self.slowness / slowness / (1.0 + self.variance.sqrt())
    }

    /// Whether a difference of a few percent is significant.
    pub(super) fn is_precise(&self) -> bool {
        self.variance < PRECISE * PRECISE
    }

    /// Whether a difference of a half is significant.
    pub(super) fn is_rough(&self) -> bool {
        self.variance < ROUGH * ROUGH
    }
}

impl Elasticity {
    /// Whether the value is above `bound` by at least `deviations` standard deviations.
    pub(super) fn is_above(&self, bound: f64, deviations: f64) -> bool {
        self.value - deviations * self.deviation > bound
    }

    pub(super) fn is_below(&self, bound: f64, deviations: f64) -> bool {
        self.value + deviations * self.deviation < bound
    }
}

/// One answer in a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) secs: f64,
    /// The length of the answer as a multiple of the reference, by its effect on the latency.
    pub(super) weight: f64,
    /// Whether the request was sent in this round.
    pub(super) is_of_round: bool,
}

/// One measurement. After a higher limit, the first answers belong to requests that were sent at once: their latency shows early whether
/// the server has room. After as many answers as requests in flight, the throughput is steady and its measurement starts.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) began: Instant,
    in_flight: u64,
    early: Sums,
    /// Answers that are left until the throughput is steady.
    warm_up: u64,
    steady: Sums,
    steady_since: Instant,
}

/// The result of one more answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum RoundProgress {
    Nothing,
    /// A first measurement, from the latencies of the first answers.
    Early(Level),
    /// A measurement of the steady throughput over `answers` answers, a multiple of the requests in flight.
    Steady {
        level: Level,
        answers: u64,
    },
}

/// The fewest answers for a first measurement, and for one of the steady throughput.
const LEAST_EARLY: f64 = 8.0;
const LEAST_STEADY: u64 = 16;

/// The relative standard deviation of latencies below which the throughput follows from their mean, by Little's law. If they vary more, the
/// longest answers come too late to be counted, and the counted throughput is the better measure.
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

    /// Restarts the measurement of the steady throughput, because too few requests were in flight.
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
        // A latency below the resolution of the clock must not become zero.
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
