//! The metrics of the accounts behind the LMs of a process.

use super::{Registry, names};
use crate::lock::lock;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};
use std::sync::Mutex;

/// The gauges of all accounts.
pub struct AccountMetrics {
    waiting: IntGaugeVec,
    limit: GaugeVec,
    throttles: IntCounterVec,
    away: GaugeVec,
    closed: IntGaugeVec,
    latency: GaugeVec,
    /// The workers of a process export the same accounts, so only one of them at a time updates a counter.
    exporting: Mutex<()>,
}

/// The present state of one model at one address with one key in this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountReading<'a> {
    pub model: &'a str,
    /// Empty for a simulated LM.
    pub address: &'a str,
    /// The name of the variable with the key; empty if no key is sent.
    pub key: &'a str,
    pub waiting: u64,
    /// `None` if nothing limits the requests.
    pub limit_per_sec: Option<f64>,
    /// Refusals for a rate limit since the process started.
    pub throttled: u64,
    pub away_secs: Option<u64>,
    /// Why the account is closed, if it is: one of [`AccountMetrics::CAUSES`].
    pub closed: Option<&'a str>,
    pub latency_secs: Option<f64>,
}

impl AccountMetrics {
    /// The values of the label `cause`.
    pub const CAUSES: [&'static str; 5] = ["key", "quota", "daily_quota", "model", "request"];

    pub(super) fn new(registry: &Registry) -> AccountMetrics {
        AccountMetrics {
            waiting: registry.gauges(&names::ACCOUNT_WAITING),
            limit: registry.float_gauges(&names::ACCOUNT_LIMIT),
            throttles: registry.counters(&names::ACCOUNT_THROTTLES),
            away: registry.float_gauges(&names::ACCOUNT_AWAY),
            closed: registry.gauges(&names::ACCOUNT_CLOSED),
            latency: registry.float_gauges(&names::ACCOUNT_LATENCY),
            exporting: Mutex::default(),
        }
    }

    /// Exports a reading.
    pub fn export(&self, reading: &AccountReading<'_>) {
        let _exporting = lock(&self.exporting);
        let labels = [reading.model, reading.address, reading.key];
        let waiting = i64::try_from(reading.waiting).unwrap_or(i64::MAX);
        self.waiting.with_label_values(&labels).set(waiting);
        known(&self.limit, &labels, reading.limit_per_sec);
        known(&self.latency, &labels, reading.latency_secs);
        let throttles = self.throttles.with_label_values(&labels);
        throttles.inc_by(reading.throttled.saturating_sub(throttles.get()));
        let away = reading.away_secs.unwrap_or(0) as f64;
        self.away.with_label_values(&labels).set(away);
        for cause in AccountMetrics::CAUSES {
            let [model, address, key] = labels;
            let labels = [model, address, key, cause];
            if reading.closed == Some(cause) {
                self.closed.with_label_values(&labels).set(1);
            } else {
                // Removing fails if the gauge does not exist.
                drop(self.closed.remove_label_values(&labels));
            }
        }
    }
}

/// Sets a gauge, or removes it if the value is unknown.
fn known(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        None => drop(gauge.remove_label_values(labels)),
    }
}
