//! A server of the tests that is written in Python, as a process: it prints its address when it listens, and ends with the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct PythonServer {
    child: Child,
    /// Host and port.
    authority: String,
}

impl PythonServer {
    /// Starts the script, a path in the repository, and waits until it listens. `configure` adds arguments and variables.
    pub(crate) fn start(script: &str, configure: impl FnOnce(&mut Command)) -> PythonServer {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script));
        command.arg("--while-stdin");
        configure(&mut command);
        let mut child = command
            // It ends when this end of the pipe goes, however the test ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need python3: install it (apt-get install python3), or put it on PATH");
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://");
        let address = address.unwrap_or_else(|| panic!("{script} did not start; it printed {line:?}"));
        PythonServer {
            authority: address.trim_end_matches("/v1").to_owned(),
            child,
        }
    }

    /// What a job file calls `api_base`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.authority)
    }

    pub(crate) fn port(&self) -> u16 {
        let (_, port) = self.authority.rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    /// The body of the answer to a request such as `GET /_state`.
    pub(crate) fn http(&self, request: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.authority).unwrap();
        write!(
            stream,
            "{request} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.authority,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        body.to_owned()
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
