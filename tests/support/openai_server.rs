//! `tests/support/openai_server.py` as a process: a strict server of OpenAI's files and fine-tuning jobs.

use super::python_server::PythonServer;
use serde::Deserialize;

/// The server; it ends with the test.
pub(crate) struct OpenaiServer(PythonServer);

/// What there is at the server, and what it was asked.
#[derive(Debug, Deserialize)]
pub(crate) struct ServerState {
    /// The jobs that were made by request.
    pub(crate) jobs: Vec<serde_json::Value>,
    /// The files that are there now.
    pub(crate) files: Vec<serde_json::Value>,
    /// Requests that do not fit the published shapes.
    pub(crate) violations: Vec<String>,
    /// All requests, in order.
    pub(crate) requests: Vec<Request>,
}

/// A request; status 0: the connection was closed without an answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
}

impl OpenaiServer {
    /// On a free port; the switches are in the server's own text.
    pub(crate) fn start(switches: &[&str]) -> OpenaiServer {
        OpenaiServer(PythonServer::start("tests/support/openai_server.py", |command| {
            for switch in switches {
                command.args(["--switch", switch]);
            }
        }))
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        self.0.base()
    }

    /// Lets jobs end, where the switch `waits` keeps them from it.
    pub(crate) fn end_jobs(&self) {
        self.0.http("POST /_end", "");
    }

    pub(crate) fn state(&self) -> ServerState {
        serde_json::from_str(&self.0.http("GET /_state", "")).unwrap()
    }
}
