//! `tests/support/finetune_services.py` as a process: the fine-tuning APIs of Together AI and Fireworks AI.

use super::python_server::PythonServer;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// A variable that is set wherever tests run, whose text is the server's API key: no test sets one, since others read them at the same
/// time.
pub(crate) const KEY_VARIABLE: &str = "PATH";

/// The server; it ends with the test.
pub(crate) struct FinetuneServices(PythonServer);

/// All that is at the server.
#[derive(Debug, Deserialize)]
pub(crate) struct ServicesState {
    pub(crate) jobs: Vec<Json>,
    pub(crate) files: Vec<Json>,
    pub(crate) datasets: Vec<String>,
    /// What it was sent that no SDK would send, and why it was not taken.
    pub(crate) refused: Vec<String>,
    /// Methods and paths.
    pub(crate) requests: Vec<String>,
}

impl FinetuneServices {
    pub(crate) fn start() -> FinetuneServices {
        FinetuneServices(PythonServer::start(
            "tests/support/finetune_services.py",
            |command| {
                command.args(["--key-variable", "SERVICE_KEY"]);
                command.env("SERVICE_KEY", std::env::var(KEY_VARIABLE).unwrap());
            },
        ))
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        self.0.base()
    }

    pub(crate) fn state(&self) -> ServicesState {
        serde_json::from_str(&self.0.http("GET /_state", "")).unwrap()
    }

    /// States that jobs go through, fields that they show, faults; see the script for the keys.
    pub(crate) fn set(&self, wanted: &Json) {
        self.0.http("POST /_set", &wanted.to_string());
    }

    /// The next request of that method and path meets the fault.
    pub(crate) fn fault(&self, on: &str, fault: &Json) {
        self.set(&json!({"faults": [{"on": on, "do": fault}]}));
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.0.http("POST /_reset", "");
    }
}
