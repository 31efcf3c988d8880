//! `tests/support/rabbitmq.sh` as a process: a real RabbitMQ that ends with the test, however the test ends.

use crate::wait::until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Names a broker that all tests may share, each in a namespace of its own.
const SHARED: &str = "BSFT_TEST_AMQP_URL";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/rabbitmq.sh");

/// Whether there is a broker to test with; says so when there is none.
pub(crate) fn installed() -> bool {
    let installed =
        std::env::var_os(SHARED).is_some() || Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server").exists();
    if !installed {
        // Straight to the terminal, past the capture of a test that passes.
        let line =
            "SKIPPED: rabbitmq-server is not installed (bash tests/run.sh does that on Debian and Ubuntu)\n";
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    installed
}

/// The broker that tests share: the one in the environment, or else one of this process.
pub(crate) fn shared_url() -> String {
    static OWN: OnceLock<Broker> = OnceLock::new();
    std::env::var(SHARED).unwrap_or_else(|_| OWN.get_or_init(|| Broker::start("[].")).url())
}

/// A broker of one test's own.
pub(crate) struct Broker {
    dir: TempDir,
    running: Child,
    url: String,
}

impl Broker {
    /// With that `advanced.config`, an Erlang term.
    pub(crate) fn start(advanced: &str) -> Broker {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("advanced.config"), advanced).unwrap();
        let (running, url) = run(dir.path());
        Broker { dir, running, url }
    }

    /// Where it listens; the same after a restart.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The same for another user.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        self.url.replace("guest:guest", &format!("{user}:{password}"))
    }

    /// Kills it without a chance to write anything.
    pub(crate) fn kill_9(&mut self) {
        self.signal("-KILL");
        self.stop();
    }

    /// Sends a signal to its process.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        let sent = Command::new("kill").args([signal, pid.trim()]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts what was killed.
    pub(crate) fn start_again(&mut self) {
        let (running, url) = run(self.dir.path());
        assert_eq!(url, self.url);
        self.running = running;
    }

    /// `rabbitmqctl`, and what it printed.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new(SCRIPT)
            .arg(self.dir.path())
            .arg("ctl")
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until rabbitmqctl prints something that holds that text.
    pub(crate) fn until_ctl_says(&self, arguments: &[&str], text: &str) {
        until(&format!("{text:?} from {arguments:?}"), || {
            self.ctl(arguments).contains(text).then_some(())
        });
    }

    fn stop(&mut self) {
        drop(self.running.stdin.take());
        self.running.wait().unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // A test may have stopped the clock of a broker that it no longer has any use for.
        let _ = std::fs::read_to_string(self.dir.path().join("pid"))
            .map(|pid| Command::new("kill").args(["-CONT", pid.trim()]).status());
        self.stop();
    }
}

fn run(dir: &Path) -> (Child, String) {
    let mut running = Command::new(SCRIPT)
        .arg(dir)
        // It stops when this end of the pipe goes.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut url = String::new();
    let stdout = running.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut url).unwrap();
    assert!(
        url.starts_with("amqp://"),
        "rabbitmq did not start; it printed {url:?}"
    );
    (running, url.trim().to_owned())
}
