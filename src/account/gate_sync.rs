//! The task that keeps one gate in sync with the shared state of its account: it reports requests and reserves slots.

use super::gate::Gate;
use super::shared::{SharedAccounts, SharedKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a gate without waiting calls is checked: its calls do not notify the task while nothing limits them.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Reports to the shared state whenever a report is due. Never returns.
pub(super) async fn sync_gate(gate: Arc<Gate>, shared: Arc<dyn SharedAccounts>, key: SharedKey) {
    loop {
        let now = Instant::now();
        let due = gate.report_due().unwrap_or(now + CHECK_EVERY);
        if due <= now {
            sync_once(&gate, &*shared, &key).await;
            continue;
        }
        tokio::select! {
            () = sleep_until(due) => {}
            () = gate.report_wanted() => {}
        }
    }
}

async fn sync_once(gate: &Gate, shared: &dyn SharedAccounts, key: &SharedKey) {
    let asked = Instant::now();
    let Some(report) = gate.take_report() else { return };
    match shared.sync(key, &report).await {
        Ok(grant) => gate.granted(&report, &grant, asked),
        Err(error) => {
            tracing::debug!(%error, "the shared state of an account is away");
            gate.not_reported(&report);
        }
    }
}
