//! `tests/support/finetune_services.py` as a process: the fine-tuning APIs of Together AI and Fireworks AI.

use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A variable that is set wherever tests run, whose text is the server's API key: no test sets one, since others read them at the same
/// time.
pub(crate) const KEY_VARIABLE: &str = "PATH";

/// The server; it ends with the test.
pub(crate) struct FinetuneServices {
    child: Child,
    place: String,
}

/// All that is at the server.
#[derive(Debug, Deserialize)]
pub(crate) struct State {
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
        let mut child = Command::new("python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/support/finetune_services.py"
            ))
            .args(["--while-stdin", "--key-variable", "SERVICE_KEY"])
            .env("SERVICE_KEY", std::env::var(KEY_VARIABLE).unwrap())
            // It ends when this end of the pipe goes, however the test ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3: install it (apt-get install python3), or put it on PATH");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let place = line.trim().strip_prefix("http://");
        let place =
            place.unwrap_or_else(|| panic!("finetune_services.py did not start; it printed {line:?}"));
        FinetuneServices {
            place: place.to_owned(),
            child,
        }
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.place)
    }

    pub(crate) fn state(&self) -> State {
        serde_json::from_str(&self.http("GET /_state", "")).unwrap()
    }

    /// States that jobs go through, fields that they show, faults; see the script for the keys.
    pub(crate) fn set(&self, wanted: &Json) {
        self.http("POST /_set", &wanted.to_string());
    }

    /// The next request of that method and path meets the fault.
    pub(crate) fn fault(&self, on: &str, fault: &Json) {
        self.set(&json!({"faults": [{"on": on, "do": fault}]}));
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.http("POST /_reset", "");
    }

    fn http(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.place).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

impl Drop for FinetuneServices {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
