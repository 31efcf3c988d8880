//! `tests/support/odd_lm.py` as a process: an LM server whose answers are wrapped, cut, empty or wrong.

use super::python_server::PythonServer;
use super::{Folder, JobFile};
use std::collections::BTreeMap;
use std::path::Path;

/// The script of the server.
const SCRIPT: &str = "tests/support/odd_lm.py";

/// The server; it ends with the test.
pub(crate) struct OddLm(PythonServer);

impl OddLm {
    pub(crate) fn start() -> OddLm {
        OddLm(PythonServer::start(SCRIPT, |_| {}))
    }

    /// With this certificate and key, both in PEM. It answers to TLS only.
    pub(crate) fn start_with_tls(certificate: &Path, key: &Path) -> OddLm {
        OddLm(PythonServer::start(SCRIPT, |command| {
            command
                .arg("--certificate")
                .arg(certificate)
                .arg("--key")
                .arg(key);
        }))
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        self.0.base()
    }

    /// From now on every case is answered with a good answer.
    pub(crate) fn answer_whole(&self) {
        self.0.http("POST /_whole", "");
    }

    /// How often each case was asked.
    pub(crate) fn asked(&self) -> BTreeMap<String, u64> {
        serde_json::from_str(&self.0.http("GET /_asked", "")).unwrap()
    }

    /// Puts a job of one predictor into the folder, with an example for each case. `compile` is the table of that name without its heading.
    pub(crate) fn write_job(&self, folder: &Folder, signature: &str, compile: &str, cases: &[&str]) {
        write_job_at(&self.0.base(), folder, signature, compile, cases);
    }
}

/// The same with another address.
pub(crate) fn write_job_at(base: &str, folder: &Folder, signature: &str, compile: &str, cases: &[&str]) {
    let mut job = JobFile::at(base);
    job.teacher
        .push_str("\nprice = { input = 1000.0, output = 1000.0 }");
    job.metric = String::new();
    job.compile = format!("max_failure_rate = 1.0\n{compile}");
    let toml = job.to_toml();
    let (head, rest) = toml.split_once("[[program.predictors]]").unwrap();
    let (_, tail) = rest.split_once("[lm.teacher]").unwrap();
    let head = head.replace("\"question\"", "\"text\"");
    let predictor =
        format!("[[program.predictors]]\nname = \"p\"\nmodule = \"Predict\"\nsignature = \"{signature}\"\n");
    folder.write("job.toml", format!("{head}{predictor}[lm.teacher]{tail}"));
    let rows = cases
        .iter()
        .map(|case| format!("{{\"text\": \"CASE:{case}\"}}\n"));
    folder.write("train.jsonl", rows.collect::<String>());
}
