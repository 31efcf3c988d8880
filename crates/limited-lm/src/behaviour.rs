//! The limits, the speed and the faults of a server.

use serde::Deserialize;

/// Limits and faults of a server. Times and rates are in server time: see [`ServerBehaviour::speed`].
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerBehaviour {
    /// Seconds of server time per second of real time.
    pub speed: f64,
    /// Mean latency of an answer in milliseconds. Each body has its own latency, within 20 % of the mean.
    pub latency_ms: f64,
    /// Requests per minute; `None` for no limit.
    pub rpm: Option<f64>,
    /// Tokens per minute, of prompts and completions; `None` for no limit.
    pub tpm: Option<f64>,
    /// The burst of the limits, in seconds.
    pub burst_s: f64,
    /// How responses report the limits.
    pub hint: RateHint,
    /// Whether a refused request counts against `rpm`.
    pub charge_refused: bool,
    /// Answers share the server's capacity; replaces `latency_ms`.
    pub saturation: Option<SharedCapacity>,
    /// The fewest and the most completion tokens. Each body has its own number between them.
    pub answer_tokens: [u64; 2],
    /// The number of answers after which the quota of the account is used up.
    pub quota: Option<u64>,
    /// Whether the quota is a daily one, which is reset by itself.
    pub quota_is_daily: bool,
    /// The number of requests after which the first key is revoked. Other keys have no such limit.
    pub revoke_after: Option<u64>,
    /// Whether the model is unknown.
    pub unknown_model: bool,
    /// The share of the bodies whose first request is never answered.
    pub hang: f64,
    /// The share of the bodies whose first answer is cut off.
    pub half: f64,
    /// A request whose body contains this text always gets status 500.
    pub poison: Option<String>,
    /// A request whose body contains this text always gets status 403.
    pub forbidden: Option<String>,
    /// A planned outage.
    pub outage: Option<PlannedOutage>,
}

/// How responses report a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateHint {
    /// Only by the status 429.
    #[default]
    None,
    /// By `Retry-After` on a refusal, in whole seconds.
    RetryAfter,
    /// By `x-ratelimit-limit-*`, `-remaining-*` and `-reset-*`, on every answer and refusal.
    XRatelimit,
}

/// A capacity that all requests in flight share, as on a GPU.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedCapacity {
    /// The most answers per second.
    pub peak_rps: f64,
    /// Latency in seconds below the knee, which is at `peak_rps * base_s` requests in flight.
    pub base_s: f64,
    /// Requests in flight above which the capacity shrinks; `None` for never.
    #[serde(default)]
    pub thrash_from: Option<f64>,
}

/// A planned outage.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedOutage {
    /// The effect on clients.
    pub how: OutageKind,
    /// Seconds from the first request to the outage.
    #[serde(default)]
    pub from_s: f64,
    /// The number of answers before the outage begins.
    #[serde(default)]
    pub after_answers: u64,
    /// Its length in seconds.
    pub for_s: f64,
}

/// The effect of an outage on clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutageKind {
    /// Connections are refused, and existing ones are closed.
    Refuse,
    /// Connections are accepted and closed without a response, so that they are counted.
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
    /// Answers per second of the whole server, with this number of requests in flight.
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
