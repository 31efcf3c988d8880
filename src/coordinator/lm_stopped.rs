//! The error of a run that stops because of an LM.

use crate::broker::Queue;
use crate::coordination::Heartbeat;
use crate::lm::{ClosedAccount, ClosedCause};
use crate::report::{count, time};
use std::fmt;
use std::time::Duration;

/// An LM whose account is closed on every worker.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosedLm {
    /// The LM's name in the job file.
    pub lm: String,
    pub model: String,
    /// The server's address without credentials.
    pub address: String,
    /// The variable of its key; `None` if no key is sent.
    pub key_variable: Option<String>,
    pub account: ClosedAccount,
    /// How many answers had come in this run.
    pub answers: u64,
    /// Why its other endpoints are left out.
    pub others: Vec<String>,
}

impl ClosedLm {
    /// Whether it opens again by itself.
    pub fn reopens(&self) -> bool {
        reopens(&self.account)
    }
}

/// Whether the account opens again by itself.
pub(super) fn reopens(account: &ClosedAccount) -> bool {
    match account.cause {
        ClosedCause::DailyQuota => true,
        ClosedCause::Key | ClosedCause::Quota | ClosedCause::Model | ClosedCause::Request => false,
    }
}

impl fmt::Display for ClosedLm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClosedLm {
            lm,
            model,
            address,
            account,
            ..
        } = self;
        let after = match self.answers {
            1 => "after 1 answer".to_owned(),
            answers => format!("after {} answers", count(answers)),
        };
        let said = format!("HTTP {}: {}", account.status, account.message);
        write!(f, "lm {lm}: ")?;
        match (account.cause, &self.key_variable) {
            (ClosedCause::Key, Some(variable)) => write!(
                f,
                "the key in {variable} was refused {after} ({said}); set {variable} to a valid key"
            ),
            (ClosedCause::Key, None) => write!(
                f,
                "{address} refused requests without a key {after} ({said}); name the variable of a key in lm.{lm}.api_key_env"
            ),
            (ClosedCause::Quota, variable) => write!(
                f,
                "the account of {} has no quota left {after} ({said}); add credit or use another key",
                key(variable.as_deref(), address)
            ),
            (ClosedCause::DailyQuota, variable) => {
                let variable = key(variable.as_deref(), address);
                write!(f, "the daily quota of {variable} is used up {after} ({said})")?;
                match account.reset_secs {
                    Some(secs) => write!(f, "; it is reset in {}", time(Duration::from_secs(secs))),
                    None => Ok(()),
                }
            }
            (ClosedCause::Model, _) => write!(
                f,
                "{address} does not know the model {model} {after} ({said}); correct lm.{lm}.model or lm.{lm}.api_base"
            ),
            (ClosedCause::Request, _) => write!(f, "{address} refused every request {after}: {said}"),
        }?;
        self.others.iter().try_for_each(|other| write!(f, "; {other}"))
    }
}

fn key(variable: Option<&str>, address: &str) -> String {
    match variable {
        Some(variable) => format!("the key in {variable}"),
        None => address.to_owned(),
    }
}

/// Why no worker can connect to the run's LMs: a key that is missing or not allowed there.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedByWorkers {
    /// The reason of each worker, each once.
    pub reasons: Vec<String>,
}

impl RefusedByWorkers {
    /// From the heartbeats of a run of `run_secs` seconds, whose job has this digest. `None` if there are no workers, or if one of them can
    /// connect or has not tried.
    pub(super) fn from_heartbeats(
        heartbeats: &[Heartbeat],
        job: &str,
        run_secs: u64,
    ) -> Option<RefusedByWorkers> {
        let takes_tasks = |heartbeat: &&Heartbeat| heartbeat.worker.takes(&Queue::Bootstrap);
        let reasons: Vec<String> = heartbeats
            .iter()
            .filter(takes_tasks)
            .map(|heartbeat| {
                let worker = &heartbeat.worker;
                // The worker of an older heartbeat may have been replaced by one with other keys.
                let is_of_this_run = heartbeat.age_secs < run_secs;
                let refusal = worker.refusal.as_ref();
                let refusal = refusal.filter(|refusal| refusal.job == job && is_of_this_run)?;
                Some(format!(
                    "{} cannot take tasks: {}",
                    worker.process, refusal.reason
                ))
            })
            .collect::<Option<_>>()?;
        (!reasons.is_empty()).then_some(RefusedByWorkers { reasons })
    }
}

impl fmt::Display for RefusedByWorkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("\n"))
    }
}

/// An LM that no worker can reach.
#[derive(Clone, Debug, PartialEq)]
pub struct AwayLm {
    /// The LM's name in the job file.
    pub lm: String,
    /// The addresses of its servers without credentials, at least one.
    pub addresses: Vec<String>,
    /// The last error that a worker saw.
    pub error: String,
    /// Whether that error names the remedy.
    pub names_remedy: bool,
    /// Seconds since it was reached.
    pub secs: u64,
    /// Whether it has answered in this run.
    pub has_answered: bool,
}

impl fmt::Display for AwayLm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AwayLm {
            lm, addresses, error, ..
        } = self;
        let (address, has) = match &addresses[..] {
            [address] => (address.clone(), "has"),
            addresses => (addresses.join(" and "), "have"),
        };
        let took = time(Duration::from_secs(self.secs));
        if self.has_answered {
            write!(
                f,
                "lm {lm}: {address} {has} been away for {took}, longer than compile.patience allows: {error}"
            )
        } else {
            write!(
                f,
                "lm {lm}: {address} cannot be reached, and has not answered in this run: {error}"
            )?;
            if self.names_remedy {
                return Ok(());
            }
            write!(
                f,
                "; start the server, correct lm.{lm}.api_base, or wait for the server with --wait"
            )
        }
    }
}
