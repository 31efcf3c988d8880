//! Accounts and patience: what is read, what is refused, what the plan makes of it, and what does not depend on it.

use super::{dir, good, read_text};
use crate::job::Job;
use crate::job::plan::{Plan, limits_text};
use crate::lm::AccountLimits;
use crate::spec::{ServerInIds, TeacherIdentity, job_fingerprint, spec_digest};
use std::time::Duration;

/// The end of a job file with one account.
const ACCOUNT: &str = "[account.openai]\nrpm = 10_000\ntpm = 600\n";

/// The valid job with its teacher in this account.
fn with_account(account: &str) -> String {
    let member = "[lm.teacher]\naccount = \"openai\"";
    good().replace("[lm.teacher]", member) + account
}

fn read_good(text: &str) -> Job {
    read_text(dir().path(), "job.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a job file, as they are printed.
fn refused(text: &str) -> String {
    let problems = read_text(dir().path(), "job.toml", text).expect_err("a problem");
    problems.to_string()
}

#[test]
fn read_returns_the_declared_limits_and_their_lms() {
    let job = read_good(&with_account(ACCOUNT));
    let limits = AccountLimits {
        rpm: Some(10_000),
        tpm: Some(600),
        rpd: None,
        concurrent: None,
    };
    assert_eq!(job.spec.accounts["openai"], limits);
    assert_eq!(job.spec.lms["teacher"].account.as_deref(), Some("openai"));
    assert_eq!(job.spec.lms["student"].account, None);
    assert_eq!(limits_text(&limits), "rpm 10000, tpm 600");
}

#[test]
fn read_reports_problems_of_accounts_with_line_and_remedy() {
    let none = with_account("");
    let typing_error = with_account("[account.opnai]\nrpm = 1\n");
    let empty = with_account("[account.openai]\n");
    let unused = good() + ACCOUNT;
    let zero = with_account("[account.openai]\nrpm = 0\n");
    let other_address = with_account(ACCOUNT).replace("[lm.student]", "[lm.student]\naccount = \"openai\"");
    let other_key = other_address.replacen(
        "[lm.student]",
        "[lm.student]\napi_base = \"http://127.0.0.1:8000/v1/\"\napi_key_env = \"OTHER\"",
        1,
    );
    for (text, message, remedy) in [
        (
            &none,
            "job.toml:24: there is no account `openai`",
            "write `[account.openai]`",
        ),
        (
            &typing_error,
            "job.toml:24: there is no account `openai`",
            "did you mean `opnai`?",
        ),
        (&empty, "[account.openai] declares no limit", "write `rpm = 500`"),
        (
            &unused,
            "no LM belongs to [account.openai]",
            "account = \"openai\"",
        ),
        (&zero, "`account.openai.rpm` is 0", "at least 1"),
        (
            &other_address,
            "[lm.student] has another address than [lm.teacher]",
            "give each its own",
        ),
        (
            &other_key,
            "[lm.student] has another key variable than [lm.teacher]",
            "give each its own",
        ),
    ] {
        let problems = refused(text);
        assert!(
            problems.contains(message) && problems.contains(remedy),
            "{problems}"
        );
    }
}

#[test]
fn read_accepts_two_lms_of_one_address_and_key() {
    let same = "[lm.student]\naccount = \"openai\"\napi_base = \"http://127.0.0.1:8000/v1/\"\napi_key_env = \"OPENAI_API_KEY\"";
    let job = read_good(&with_account(ACCOUNT).replace("[lm.student]", same));
    let accounts: Vec<_> = job.spec.lms.values().map(|lm| lm.account.as_deref()).collect();
    assert_eq!(accounts, [Some("openai"), Some("openai")]);
}

#[test]
fn read_returns_patience_and_its_default() {
    assert_eq!(read_good(&good()).patience, Duration::from_secs(3600));
    let patient = good() + "patience = \"2d\"\n";
    assert_eq!(read_good(&patient).patience, Duration::from_secs(172_800));
    for (value, message, remedy) in [
        (
            "3600",
            "`compile.patience` is an integer, not a length of time",
            "\"1h\"",
        ),
        (
            "\"1 hour\"",
            "is `1 hour`, which is no length of time",
            "`\"15m\"`",
        ),
        ("\"4000d\"", "longer than ten years", "3650d"),
    ] {
        let problems = refused(&format!("{}patience = {value}\n", good()));
        assert!(
            problems.contains(message) && problems.contains(remedy),
            "{problems}"
        );
    }
}

#[test]
fn rehearsal_has_no_accounts() {
    let mut job = read_good(&with_account(ACCOUNT));
    job.rehearse();
    assert!(job.spec.accounts.is_empty());
    assert_eq!(job.spec.lms["teacher"].account, None);
}

#[test]
fn plan_shows_the_shortest_time_that_declared_limits_allow() {
    // 3 calls of the teacher, with some 200 tokens each.
    let plan = Plan::new(&read_good(&with_account(ACCOUNT)));
    let account = &plan.accounts[0];
    assert_eq!(
        (account.lms.as_slice(), account.calls),
        (&["teacher".to_owned()][..], 3)
    );
    assert_eq!(
        account.tokens,
        plan.lms[0].prompt_tokens + plan.lms[0].answer_tokens
    );
    assert_eq!(account.least_seconds, Some(account.tokens as f64 / 10.0));
    assert_eq!(account.bound_by, Some("tpm"));
    let shown = plan.to_string();
    assert!(
        shown.contains("rpm 10000, tpm 600") && shown.contains("(tpm)"),
        "{shown}"
    );

    let calls = |limits: &str| {
        Plan::new(&read_good(&with_account(&format!(
            "[account.openai]\n{limits}\n"
        ))))
    };
    let bound = |limits: &str| {
        let plan = calls(limits);
        (plan.accounts[0].least_seconds, plan.accounts[0].bound_by)
    };
    assert_eq!(bound("rpm = 2"), (Some(90.0), Some("rpm")));
    assert_eq!(bound("concurrent = 2"), (None, None));
    assert!(calls("concurrent = 2").to_string().contains("concurrent 2"));
    assert!(!Plan::new(&read_good(&good())).to_string().contains("account"));
}

#[test]
fn ids_of_tasks_and_traces_do_not_depend_on_accounts_and_patience() {
    let plain = read_good(&good());
    let limited = read_good(&with_account(ACCOUNT).replace("adapter", "patience = \"2d\"\nadapter"));
    assert_eq!(
        TeacherIdentity::for_teacher(&limited.spec, 0, ServerInIds::No),
        TeacherIdentity::for_teacher(&plain.spec, 0, ServerInIds::No)
    );
    assert_eq!(job_fingerprint(&limited.spec), job_fingerprint(&plain.spec));
    let patient = read_good(&good().replace("adapter", "patience = \"2d\"\nadapter"));
    let digest = |job: &Job| spec_digest(&serde_json::to_vec(&job.spec).expect("plain data"));
    assert_eq!(digest(&patient), digest(&plain));
}
