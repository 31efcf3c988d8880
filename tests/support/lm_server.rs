//! `tests/parity/lm_server.py` as a process: a real HTTP server with deterministic answers.

use super::python_server::PythonServer;
use super::until;
use serde::Deserialize;

/// The server; it ends with the test.
pub(crate) struct LmServer(PythonServer);

/// Counts of the requests since the last reset; requests are distinguished by their messages.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Count {
    pub(crate) requests: usize,
    pub(crate) distinct: usize,
    /// Messages that were asked more than once.
    pub(crate) repeated: usize,
    /// How often the messages that were asked most were asked.
    pub(crate) most_asked: usize,
}

/// What was answered since the last reset.
#[derive(Debug, PartialEq, Deserialize)]
pub(crate) struct Paid {
    pub(crate) answers: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    /// Messages that were answered more than once.
    pub(crate) answered_again: usize,
}

impl LmServer {
    /// On a free port, with answers of this profile.
    pub(crate) fn start(profile: &str) -> LmServer {
        LmServer::start_on(0, &["--profile", profile])
    }

    /// On that port (0: a free one), with further arguments.
    pub(crate) fn start_on(port: u16, arguments: &[&str]) -> LmServer {
        LmServer(PythonServer::start("tests/parity/lm_server.py", |command| {
            command.args(["--port", &port.to_string()]).args(arguments);
        }))
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        self.base_on("127.0.0.1")
    }

    /// The same for clients that use another address of this machine.
    pub(crate) fn base_on(&self, address: &str) -> String {
        format!("http://{address}:{}/v1", self.0.port())
    }

    pub(crate) fn count(&self) -> Count {
        serde_json::from_str(&self.get("/_count")).unwrap()
    }

    pub(crate) fn paid(&self) -> Paid {
        serde_json::from_str(&self.get("/_paid")).unwrap()
    }

    /// From now on it refuses to give this output field for examples from this number on, with HTTP 422.
    pub(crate) fn refuse(&self, field: &str, example: usize) {
        self.http(&format!(
            "POST /_refuse?field={field}&example={example}&status=422"
        ));
    }

    /// Every request so far, as a JSON array of `{path, body}`.
    pub(crate) fn log(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.get("/_log")).unwrap()
    }

    /// Forgets what was asked.
    pub(crate) fn reset(&self) {
        self.http("POST /_reset");
    }

    /// From now on it sends no answers; requests still arrive and are counted.
    pub(crate) fn hold(&self) {
        self.http("POST /_hold");
    }

    /// From now on it sends no answers about examples from this number on, so that a run cannot end before the release.
    pub(crate) fn hold_from(&self, example: usize) {
        self.http(&format!("POST /_hold?from={example}"));
    }

    /// From now on it answers only the first `distinct` different questions since the last reset.
    pub(crate) fn hold_after_questions(&self, distinct: usize) {
        self.http(&format!("POST /_hold?distinct={distinct}"));
    }

    /// Answers that many more requests, then refuses every request with this status and code.
    pub(crate) fn refuse_after(&self, answers: usize, status: u16, code: &str) {
        self.http(&format!(
            "POST /_refuse?status={status}&code={code}&after={answers}"
        ));
    }

    /// Refuses no more requests.
    pub(crate) fn accept(&self) {
        self.http("POST /_accept");
    }

    /// Sends what is held, and answers as before.
    pub(crate) fn release(&self) {
        self.http("POST /_release");
    }

    /// Requests that wait for their answers now.
    pub(crate) fn held(&self) -> usize {
        let held: serde_json::Value = serde_json::from_str(&self.get("/_held")).unwrap();
        held["held"].as_u64().unwrap() as usize
    }

    /// Waits until that many requests are held.
    pub(crate) fn until_held(&self, requests: usize) {
        until("requests to be held", || (self.held() >= requests).then_some(()));
    }

    /// The body of what it answers to a GET.
    pub(crate) fn get(&self, path: &str) -> String {
        self.http(&format!("GET {path}"))
    }

    fn http(&self, request: &str) -> String {
        self.0.http(request, "")
    }
}
