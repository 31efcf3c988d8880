//! Several endpoints of an LM: what is read, what is refused, and what does not depend on them.

use super::{dir, good, read_text};
use crate::job::Job;
use crate::job::plan::Plan;
use crate::lm::LmSettings;
use crate::spec::{ServerInIds, TeacherIdentity};

/// The keys of the valid job's teacher that endpoints replace.
const ONE: &str = "api_base = \"http://127.0.0.1:8000/v1\"\napi_key_env = \"OPENAI_API_KEY\"\n";

/// The valid job with this in the place of `api_base` and `api_key_env`.
fn with(instead: &str) -> String {
    let text = good();
    assert!(text.contains(ONE), "{text}");
    text.replace(ONE, &format!("{instead}\n"))
}

fn two() -> String {
    with(
        "endpoints = [{ api_base = \"http://127.0.0.1:8000/v1\", api_key_env = \"OPENAI_API_KEY\" }, \
         { api_base = \"http://127.0.0.1:8001/v1\" }]",
    )
}

fn read_good(text: &str) -> Job {
    read_text(dir().path(), "job.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(text: &str) -> String {
    let problems = read_text(dir().path(), "job.toml", text).expect_err("a problem");
    problems.to_string()
}

fn access(lm: &LmSettings) -> (String, Option<&str>, Option<&str>) {
    (lm.shown_address(), lm.key_variable(), lm.account.as_deref())
}

#[test]
fn read_returns_the_endpoints_in_order() {
    let job = read_good(&two());
    let teacher = &job.spec.lms["teacher"];
    assert_eq!(teacher.api_base.as_deref(), Some("http://127.0.0.1:8000/v1"));
    let endpoints = teacher.endpoints();
    let endpoints: Vec<_> = endpoints.iter().map(access).collect();
    assert_eq!(
        endpoints,
        [
            (
                "http://127.0.0.1:8000/v1".to_owned(),
                Some("OPENAI_API_KEY"),
                None
            ),
            ("http://127.0.0.1:8001/v1".to_owned(), None, None),
        ]
    );
    let variables: Vec<&str> = job.key_variables.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(variables, ["OPENAI_API_KEY"]);
    assert_eq!(job.key_variables[0].key, "lm.teacher.endpoints.api_key_env");
}

#[test]
fn endpoint_belongs_to_its_own_account_or_to_that_of_its_lm() {
    let text = with(
        "account = \"both\"\nendpoints = [{ api_key_env = \"A\" }, { api_key_env = \"B\", account = \"own\" }, { api_key_env = \"C\" }]",
    ) + "[account.both]\nrpm = 60\n[account.own]\nrpm = 60\n";
    let job = read_good(&text);
    let endpoints = job.spec.lms["teacher"].endpoints();
    let accounts: Vec<_> = endpoints.iter().map(|lm| lm.account.as_deref()).collect();
    assert_eq!(accounts, [Some("both"), Some("own"), Some("both")]);
    // It is open which endpoint takes how many calls.
    let plan = Plan::new(&job);
    let least: Vec<_> = plan
        .accounts
        .iter()
        .map(|account| account.least_seconds)
        .collect();
    assert_eq!(least, [None, None]);
}

#[test]
fn read_reports_problems_of_endpoints_with_line_and_remedy() {
    for (instead, message, remedy) in [
        (
            "endpoints = []",
            "job.toml:25: `lm.teacher.endpoints` has no endpoint",
            "or leave it out",
        ),
        (
            "api_base = \"http://127.0.0.1:1/v1\"\nendpoints = [{ api_base = \"http://127.0.0.1:2/v1\" }]",
            "job.toml:25: `lm.teacher.api_base` and `lm.teacher.endpoints` exclude each other",
            "into one of the endpoints",
        ),
        (
            "endpoints = [{}]\napi_key_env = \"KEY\"",
            "job.toml:26: `lm.teacher.api_key_env` and `lm.teacher.endpoints` exclude each other",
            "into one of the endpoints",
        ),
        (
            "endpoints = [\n{ api_base = \"http://127.0.0.1:1/v1\" },\n{ api_base = \"http://127.0.0.1:1/v1/\" }]",
            "job.toml:27: `lm.teacher.endpoints` has two endpoints with the address http://127.0.0.1:1/v1 and the same key variable",
            "take one out",
        ),
        (
            "endpoints = [{ api_bse = \"http://127.0.0.1:1/v1\" }]",
            "job.toml:25: unknown key `api_bse` in [lm.teacher.endpoints]",
            "did you mean `api_base`?",
        ),
        (
            "endpoints = [{ api_base = \"127.0.0.1:1\" }]",
            "job.toml:25: `lm.teacher.endpoints.api_base`",
            "write an address",
        ),
        (
            "endpoints = [{ api_key = \"sk-abcdefghijkl\" }]",
            "`lm.teacher.endpoints.api_key` puts a key into the file",
            "api_key_env",
        ),
        (
            "endpoints = [{ account = \"none\" }]",
            "there is no account `none`",
            "[account.none]",
        ),
        (
            "endpoints = \"http://127.0.0.1:1/v1\"",
            "is a string, not a list",
            "[",
        ),
    ] {
        let problems = refused(&with(instead));
        assert!(
            problems.contains(message) && problems.contains(remedy),
            "{problems}"
        );
    }
}

#[test]
fn ids_of_tasks_do_not_depend_on_servers() {
    let identity = |text: &str| TeacherIdentity::for_teacher(&read_good(text).spec, 0, ServerInIds::No);
    let one = identity(&good());
    let swapped = with(
        "endpoints = [{ api_base = \"http://127.0.0.1:8001/v1\" }, \
         { api_base = \"http://127.0.0.1:8000/v1\", api_key_env = \"OPENAI_API_KEY\" }]",
    );
    for text in [
        two(),
        swapped,
        with("api_base = \"http://127.0.0.1:9/v1\""),
        with(""),
    ] {
        assert_eq!(identity(&text), one, "{text}");
    }
    assert_ne!(identity(&good().replace("openai/gpt-4.1", "openai/gpt-4.2")), one);
}

#[test]
fn runs_of_version_0_1_0_keep_ids_with_the_first_address() {
    let identity = |text: &str| TeacherIdentity::for_teacher(&read_good(text).spec, 0, ServerInIds::Yes);
    let one = identity(&good());
    assert_eq!(identity(&two()), one);
    assert_ne!(identity(&with("api_base = \"http://127.0.0.1:9/v1\"")), one);
}

#[test]
fn rehearsal_has_no_endpoints() {
    let mut job = read_good(&two());
    job.rehearse();
    assert_eq!(job.spec.lms["teacher"].endpoints().len(), 1);
}
