//! `tests/support/openai_server.py` as a process: a strict server of OpenAI's files and fine-tuning jobs.

use serde::Deserialize;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// The server; it ends with the test.
pub(crate) struct OpenaiServer {
    child: Child,
    base: String,
}

/// What there is at the server, and what it was asked.
#[derive(Debug, Deserialize)]
pub(crate) struct State {
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
        let mut command = Command::new("python3");
        command.arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/openai_server.py"
        ));
        command.arg("--while-stdin");
        for switch in switches {
            command.args(["--switch", switch]);
        }
        let mut child = command
            // It ends when this end of the pipe goes, however the test ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3: install it (apt-get install python3), or put it on PATH");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let base = line.trim().to_owned();
        assert!(
            base.starts_with("http://"),
            "openai_server.py did not start; it printed {line:?}"
        );
        OpenaiServer { child, base }
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        self.base.clone()
    }

    /// Lets jobs end, where the switch `waits` keeps them from it.
    pub(crate) fn end_jobs(&self) {
        self.http("POST /_end");
    }

    pub(crate) fn state(&self) -> State {
        serde_json::from_str(&self.http("GET /_state")).unwrap()
    }

    fn http(&self, request: &str) -> String {
        let host = self.base.trim_start_matches("http://").trim_end_matches("/v1");
        let mut stream = TcpStream::connect(host).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

impl Drop for OpenaiServer {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
