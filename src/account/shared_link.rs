//! The task beside a gate that reports to the shared state of its account, and reserves slots there.

use super::gate::{Gate, ReportDue};
use super::shared_accounts::{SharedAccounts, SharedKey};
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};

/// Runs for as long as the gate is used.
pub(super) async fn link(gate: Arc<Gate>, shared: Arc<dyn SharedAccounts>, key: SharedKey) {
    loop {
        match gate.report_due() {
            ReportDue::At(due) if due <= Instant::now() => sync(&gate, &*shared, &key).await,
            ReportDue::At(due) => tokio::select! {
                () = sleep_until(due) => {}
                () = gate.slots_wanted() => {}
            },
            ReportDue::OnDemand => gate.slots_wanted().await,
        }
    }
}

async fn sync(gate: &Gate, shared: &dyn SharedAccounts, key: &SharedKey) {
    let asked = Instant::now();
    let Some(report) = gate.take_report() else { return };
    match shared.sync(key, &report).await {
        Ok(grant) => gate.granted(&report, &grant, asked),
        Err(error) => {
            tracing::debug!(%error, "no slots: the shared state of the account is away");
            gate.not_reported(&report);
        }
    }
}
