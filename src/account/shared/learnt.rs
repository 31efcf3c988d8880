//! What the gates of a model at one address have learnt in the processes of a cluster: rates that add up to what the account allows, and
//! requests in flight.

/// What a gate has learnt, with its report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LearntReport {
    /// Identifies the gate among those of all processes.
    pub member: u64,
    /// Whether the gate has no part in the account yet, because it is new or made no report for a while.
    pub joins: bool,
    /// Requests per second; `None` if no rate is learnt.
    pub rate: Option<f64>,
    /// The requests in flight that saturate the server; `None` if none are learnt.
    pub in_flight: Option<u64>,
}

/// What a gate gets from the others, in reply to its report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LearntGrant {
    /// The number of other gates in use.
    pub others: u64,
    pub rate: RateGrant,
    /// For a gate that joins: the mean of the requests in flight that the others have learnt.
    pub in_flight: Option<u64>,
}

/// The effect of the other gates on a learnt rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RateGrant {
    #[default]
    Unchanged,
    /// Gates have joined or left: the rate changes by this factor.
    Scaled(f64),
    /// The gate joins others: its rate starts at this number of requests per second.
    Start(f64),
}

/// Rates and factors are sent as integers, in millionths.
const MILLIONTHS: f64 = 1e6;

impl LearntReport {
    /// The arguments of the script that holds the shared state, in the script's order.
    pub(super) fn arguments(&self) -> [i64; 4] {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        [
            number(self.member),
            self.joins.into(),
            self.rate.map_or(0, |rate| (rate * MILLIONTHS).ceil() as i64),
            self.in_flight.map_or(0, number),
        ]
    }
}

impl LearntGrant {
    /// Parses this part of the reply of the script. `None` if it has another form.
    pub(super) fn from_reply([others, factor, start, in_flight]: [i64; 4]) -> Option<LearntGrant> {
        let in_flight: u64 = in_flight.try_into().ok()?;
        let rate = match (factor as f64 / MILLIONTHS, start as f64 / MILLIONTHS) {
            (_, start) if start > 0.0 => RateGrant::Start(start),
            (1.0, _) => RateGrant::Unchanged,
            (factor, _) if factor > 0.0 => RateGrant::Scaled(factor),
            _ => return None,
        };
        Some(LearntGrant {
            others: others.try_into().ok()?,
            rate,
            in_flight: Some(in_flight).filter(|in_flight| *in_flight > 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_grant_is_a_start_a_factor_or_nothing() {
        let rate = |reply| LearntGrant::from_reply(reply).map(|grant| grant.rate);
        assert_eq!(rate([0, 1_000_000, 0, 0]), Some(RateGrant::Unchanged));
        assert_eq!(rate([3, 800_000, 0, 0]), Some(RateGrant::Scaled(0.8)));
        assert_eq!(rate([3, 1_000_000, 12_500_000, 7]), Some(RateGrant::Start(12.5)));
        assert_eq!(rate([3, 0, 0, 0]), None);
    }
}
