//! The accounts behind the LMs of a process: each model at an address with a key has one gate, through which all calls go.
//!
//! An LM client sends one request and classifies the reply. This module does everything that depends on the account: it paces the requests,
//! probes a server that is away, and closes an account whose key, quota or model is refused. None of this fails an example: a call waits,
//! or it is handed back.
//!
//! - [`Gate`] releases calls one at a time. `health` decides whether a call may be sent, the pacers decide when.
//! - The pacers are `declared_limits` from the job file, `hinted_limits` from response headers, and `learnt_rate` from refusals. They use
//!   `token_bucket`.
//! - In a cluster the workers share the state of their accounts and what their gates have learnt (`shared`). `gate_sync` reports a gate's
//!   requests there and reserves slots for it.
//! - [`GatedLm`] is one call through a gate, with its retries; `endpoints` chooses among the gates of an LM with several servers.
//!
//! While nothing limits, a call costs a few atomic operations: no lock, no allocation.

mod counts;
mod declared_limits;
mod endpoints;
mod gate;
mod gate_state;
mod gate_sync;
mod gated_lm;
mod health;
mod hinted_limits;
mod last_answers;
mod latency_model;
mod learnt_concurrency;
mod learnt_rate;
mod learnt_timeout;
mod shared;
#[cfg(test)]
mod tests;
mod token_bucket;
mod token_estimate;

pub use gate::Gate;
pub use gated_lm::{GateError, GatedAnswer, GatedLm};
pub use shared::{
    GateGrant, GateReport, HealthTurn, LearntGrant, LearntReport, ProcessCalls, RateGrant, SharedAccounts,
    SharedKey,
};

use crate::lm::{AccountLimits, LmSettings, LmStatus};
use crate::lock::lock;
use declared_limits::DeclaredLimits;
use gate_sync::sync_gate;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The gates of a process, shared by all its workers.
#[derive(Debug)]
pub struct Accounts {
    /// Locked for look-ups only, never across an await.
    gates: Mutex<HashMap<GateKey, Arc<Gate>>>,
    declared: Mutex<HashMap<AccountKey, Arc<DeclaredLimits>>>,
    changes: watch::Sender<()>,
    /// The state that the workers of a cluster share; `None` in a process alone.
    shared: Option<Arc<dyn SharedAccounts>>,
    /// One task per gate, which keeps it in sync with `shared`. The tasks end when the accounts are dropped.
    syncs: Mutex<JoinSet<()>>,
}

/// The account whose limits apply: an `[account.NAME]` of the job file, or an address with a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum AccountKey {
    Named(String),
    Own {
        address: String,
        key_variable: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct GateKey {
    account: AccountKey,
    address: String,
    /// Endpoints of one account can have different keys.
    key_variable: Option<String>,
    model: String,
}

impl GateKey {
    fn shared(&self) -> SharedKey {
        let model = [&*self.address, &*self.model];
        match &self.account {
            AccountKey::Named(name) => SharedKey::new(&["named", name], &model),
            AccountKey::Own {
                address,
                key_variable,
            } => {
                let variable = key_variable.as_deref().unwrap_or_default();
                SharedKey::new(&["own", address, variable], &model)
            }
        }
    }
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts {
            gates: Mutex::default(),
            declared: Mutex::default(),
            changes: watch::Sender::new(()),
            shared: None,
            syncs: Mutex::default(),
        }
    }
}

impl Accounts {
    /// Gates whose limits are shared with the other workers of a cluster.
    pub fn shared(shared: Arc<dyn SharedAccounts>) -> Accounts {
        Accounts {
            shared: Some(shared),
            ..Accounts::default()
        }
    }

    /// Returns the gate of the LM, and creates it at the first call. `limits` replace limits that were declared before. Where accounts are
    /// shared, call it within a Tokio runtime.
    pub fn gate(&self, settings: &LmSettings, limits: Option<AccountLimits>) -> Arc<Gate> {
        let address = settings.shown_address();
        let key_variable = settings.key_variable().map(str::to_owned);
        let account = match &settings.account {
            Some(name) => AccountKey::Named(name.clone()),
            None => AccountKey::Own {
                address: address.clone(),
                key_variable: key_variable.clone(),
            },
        };
        let key = GateKey {
            account: account.clone(),
            address,
            key_variable,
            model: settings.model.clone(),
        };
        let declared = limits.map(|limits| {
            let mut declared = lock(&self.declared);
            let declared = declared
                .entry(account)
                .or_insert_with(|| Arc::new(DeclaredLimits::new(self.shared.is_some())));
            declared.set(limits);
            Arc::clone(declared)
        });
        let mut gates = lock(&self.gates);
        let gate = gates.entry(key).or_insert_with_key(|key| {
            // A simulated LM has no state to share.
            let is_simulated = key.address.is_empty() && declared.is_none();
            let shared = self.shared.as_ref().filter(|_| !is_simulated);
            let gate = Arc::new(Gate::new(settings, shared.is_some(), self.changes.clone()));
            if let Some(shared) = shared {
                lock(&self.syncs).spawn(sync_gate(Arc::clone(&gate), Arc::clone(shared), key.shared()));
            }
            gate
        });
        gate.declare(declared);
        Arc::clone(gate)
    }

    /// The status of every LM of the process, ordered by model and address.
    pub fn statuses(&self) -> Vec<LmStatus> {
        let gates: Vec<Arc<Gate>> = lock(&self.gates).values().cloned().collect();
        let mut statuses: Vec<LmStatus> = gates.iter().map(|gate| gate.status()).collect();
        statuses.sort_by(|a, b| (&a.model, &a.address).cmp(&(&b.model, &b.address)));
        statuses
    }

    /// The calls that wait for an account now. A task has one call at a time.
    pub fn waiting_calls(&self) -> usize {
        lock(&self.gates).values().map(|gate| gate.waiting_calls()).sum()
    }

    /// A listener for changes of the [`state`](LmStatus::state) of any LM, starting now.
    pub fn state_changes(&self) -> StateChanges {
        StateChanges(self.changes.subscribe())
    }
}

/// Reports changes of the state of LMs. No change is lost between two calls of [`Self::changed`]. Several changes may be reported as one.
#[derive(Debug)]
pub struct StateChanges(watch::Receiver<()>);

impl StateChanges {
    /// Returns when a state has changed since the last call. Never returns after the accounts are dropped. Cancel safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
