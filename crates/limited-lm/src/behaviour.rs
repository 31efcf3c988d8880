//! What a server allows, how fast it is, and what goes wrong.

use serde::Deserialize;

/// Limits and faults of a server. Times and rates are in server time: see [`ServerBehaviour::speed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerBehaviour {
    /// Seconds of server time in a second of real time.
    pub speed: f64,
    /// Mean latency of an answer in milliseconds; each body has its own, within 20 %.
    pub latency_ms: f64,
    /// Requests a minute; `None` for no limit.
    pub rpm: Option<f64>,
    /// Tokens a minute, of requests and answers; `None` for no limit.
    pub tpm: Option<f64>,
    /// Seconds of the limits that an idle client saves up.
    pub burst_s: f64,
    /// How a client learns about the limits.
    pub hint: RateHint,
    /// Whether a refused request counts against `rpm`.
    pub charge_refused: bool,
    /// Answers share the server's capacity; replaces `latency_ms`.
    pub saturation: Option<SharedCapacity>,
    /// Fewest and most tokens of an answer; each body has its own number.
    pub answer_tokens: [u64; 2],
    /// Answers until the quota of the account is used up.
    pub quota: Option<u64>,
    /// Whether the used-up quota is that of the day, and returns by itself.
    pub quota_is_daily: bool,
    /// Requests that the first key is good for; other keys have no such limit.
    pub revoke_after: Option<u64>,
    /// Whether the model is unknown.
    pub unknown_model: bool,
    /// Share of the bodies whose first request is never answered.
    pub hang: f64,
    /// Share of the bodies whose first answer ends in the middle.
    pub half: f64,
    /// A request whose body contains this is answered with status 500, always.
    pub poison: Option<String>,
    /// A request whose body contains this is answered with status 403, always.
    pub forbidden: Option<String>,
    /// When the server breaks down.
    pub outage: Option<PlannedOutage>,
}

/// How a client learns about a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateHint {
    /// By the status 429 alone.
    #[default]
    None,
    /// By `Retry-After`, in whole seconds, on a refusal.
    RetryAfter,
    /// By `x-ratelimit-limit-*`, `-remaining-*` and `-reset-*`, on every answer and refusal.
    XRatelimit,
}

/// A capacity that all requests in flight share, as on a GPU.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCapacity {
    /// The most answers a second.
    pub peak_rps: f64,
    /// Latency in seconds below the knee, which is at `peak_rps * base_s` requests in flight.
    pub base_s: f64,
    /// Requests in flight from which the capacity shrinks; `None` for never.
    #[serde(default)]
    pub thrash_from: Option<f64>,
}

/// A time without answers.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOutage {
    /// What a client sees.
    pub how: OutageKind,
    /// Seconds from the first request to the outage.
    #[serde(default)]
    pub from_s: f64,
    /// Answers before the outage begins.
    #[serde(default)]
    pub after_answers: u64,
    /// Its length in seconds.
    pub for_s: f64,
}

/// What a client sees of an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutageKind {
    /// Connections are refused, and those that exist are closed.
    Refuse,
    /// Connections are accepted and closed without an answer, so that they can be counted.
    Reset,
    /// Status 503 for every request.
    Unavailable,
}

impl Default for ServerBehaviour {
    fn default() -> ServerBehaviour {
        ServerBehaviour {
            speed: 1.0,
            latency_ms: 200.0,
            rpm: None,
            tpm: None,
            burst_s: 1.0,
            hint: RateHint::None,
            charge_refused: false,
            saturation: None,
            answer_tokens: [40, 40],
            quota: None,
            quota_is_daily: false,
            revoke_after: None,
            unknown_model: false,
            hang: 0.0,
            half: 0.0,
            poison: None,
            forbidden: None,
            outage: None,
        }
    }
}

impl SharedCapacity {
    /// Answers a second of the whole server with so many requests in flight.
    pub(crate) fn capacity(&self, in_flight: usize) -> f64 {
        let in_flight = in_flight as f64;
        if in_flight <= self.peak_rps * self.base_s {
            return in_flight / self.base_s;
        }
        match self.thrash_from {
            Some(from) if in_flight > from => self.peak_rps * (from / in_flight).sqrt(),
            _ => self.peak_rps,
        }
    }
}
