//! What the declared limits of an account allow: the shortest time of a job's calls.

use super::LmPlan;
use crate::lm::{AccountLimits, LmSettings};
use crate::spec::JobSpec;
use serde::Serialize;

/// Seconds of a minute and of a day.
const MINUTE: f64 = 60.0;
const DAY: f64 = 86_400.0;

/// The calls of one `[account.NAME]`, and how long its limits make them take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountPlan {
    /// The account's name in the job file.
    pub account: String,
    /// The names of its LMs that are called.
    pub lms: Vec<String>,
    /// The number of calls; the most, if its LMs have endpoints of other accounts.
    pub calls: u64,
    /// Estimated tokens of prompts and answers.
    pub tokens: u64,
    /// The declared limits.
    pub limits: AccountLimits,
    /// The shortest time in seconds that `rpm`, `tpm` and `rpd` allow. `None` if none of them is declared, nothing is called,
    /// or endpoints of other accounts take some of the calls.
    pub least_seconds: Option<f64>,
    /// The limit that makes it so: `rpm`, `tpm` or `rpd`.
    pub bound_by: Option<&'static str>,
}

/// Plans each account of a job. `lms` are the LMs that are called.
pub(super) fn accounts(spec: &JobSpec, lms: &[LmPlan]) -> Vec<AccountPlan> {
    // Which of its endpoints take part: all, or some of them.
    let endpoints_of = |lm: &LmPlan, account: &str| {
        let settings = spec.lms.get(&lm.lm).map(LmSettings::endpoints);
        let endpoints = settings.unwrap_or_default();
        let own = endpoints
            .iter()
            .filter(|lm| lm.account.as_deref() == Some(account));
        (own.count(), endpoints.len())
    };
    let plan = |(account, limits): (&String, &AccountLimits)| {
        let own = lms.iter().filter(|lm| endpoints_of(lm, account).0 > 0);
        let own: Vec<&LmPlan> = own.collect();
        // Other endpoints take some of the calls.
        let is_shared = own.iter().any(|lm| {
            let (own, all) = endpoints_of(lm, account);
            own < all
        });
        let calls = own.iter().map(|lm| lm.calls).sum();
        let tokens = own.iter().map(|lm| lm.prompt_tokens + lm.answer_tokens).sum();
        let longest = times(limits, calls, tokens)
            .into_iter()
            .filter(|_| calls > 0 && !is_shared)
            .filter_map(|(name, seconds)| Some((name, seconds?)))
            .max_by(|(_, one), (_, other)| one.total_cmp(other));
        AccountPlan {
            account: account.clone(),
            lms: own.iter().map(|lm| lm.lm.clone()).collect(),
            calls,
            tokens,
            limits: *limits,
            least_seconds: longest.map(|(_, seconds)| seconds),
            bound_by: longest.map(|(name, _)| name),
        }
    };
    spec.accounts.iter().map(plan).collect()
}

/// Seconds that each declared limit makes the calls take.
fn times(limits: &AccountLimits, calls: u64, tokens: u64) -> [(&'static str, Option<f64>); 3] {
    let a_minute = |amount: u64, limit: Option<u64>| Some(amount as f64 / limit? as f64 * MINUTE);
    // The requests of the first day may all be sent at once, so only whole further days count.
    let days = limits.rpd.map(|limit| calls.saturating_sub(1) / limit);
    [
        ("rpm", a_minute(calls, limits.rpm)),
        ("tpm", a_minute(tokens, limits.tpm)),
        ("rpd", days.map(|days| days as f64 * DAY)),
    ]
}

/// Declared limits as in the job file: `rpm 600, tpm 200000`.
pub fn limits_text(limits: &AccountLimits) -> String {
    let all = [
        ("rpm", limits.rpm),
        ("tpm", limits.tpm),
        ("rpd", limits.rpd),
        ("concurrent", limits.concurrent),
    ];
    let declared = all
        .iter()
        .filter_map(|(name, limit)| Some(format!("{name} {}", (*limit)?)));
    declared.collect::<Vec<_>>().join(", ")
}

impl AccountPlan {
    /// The cells of its row in the table of accounts.
    pub(super) fn row(&self) -> [String; 5] {
        let least = match (self.least_seconds, self.bound_by) {
            (Some(seconds), Some(limit)) => format!("{} ({limit})", rounded(seconds)),
            _ => "-".to_owned(),
        };
        [
            self.account.clone(),
            self.lms.join(", "),
            self.calls.to_string(),
            limits_text(&self.limits),
            least,
        ]
    }
}

/// `0.4s`, `42s`, `7m`, `2h05m`, `3d04h`.
fn rounded(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1}s"),
        10..120 => format!("{whole}s"),
        120..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..172_800 => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}
