//! `tests/support/rabbitmq.sh` as a process: a real RabbitMQ that ends with the test, however the test ends.

use super::documented_rights::{COORDINATOR, WORKER, rabbitmq_users};
use super::wait::until;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Names a broker that all tests may share, each in a namespace of its own.
pub(crate) const SHARED: &str = "BSFT_TEST_AMQP_URL";

/// The password of both users.
const PASSWORD: &str = "hunter2";

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/rabbitmq.sh");

/// Whether there is a broker to test with; prints a line if not.
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

/// The broker that tests share, for the coordinator's user, who has the least rights: the one in the environment, or else one of this
/// process.
pub(crate) fn shared_url() -> String {
    static OWN: OnceLock<(RabbitMqServer, String)> = OnceLock::new();
    let own = || {
        let rabbitmq = RabbitMqServer::start("[].");
        let url = rabbitmq.admit_users();
        (rabbitmq, url)
    };
    std::env::var(SHARED).unwrap_or_else(|_| OWN.get_or_init(own).1.clone())
}

/// Where a worker finds the broker that this is the coordinator's URL of.
pub(crate) fn worker_url(url: &str) -> String {
    url.replace(&format!("{COORDINATOR}:"), &format!("{WORKER}:"))
}

/// A broker of one test's own.
pub(crate) struct RabbitMqServer {
    dir: TempDir,
    running: Child,
    /// Of its listeners: the plain one, and the one for TLS if it was asked for.
    urls: Vec<String>,
}

impl RabbitMqServer {
    /// With that `advanced.config`, an Erlang term.
    pub(crate) fn start(advanced: &str) -> RabbitMqServer {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("advanced.config"), advanced).unwrap();
        RabbitMqServer::start_in(dir)
    }

    /// One that also listens on that address of this machine.
    pub(crate) fn start_on(address: &str) -> RabbitMqServer {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("address"), address).unwrap();
        RabbitMqServer::start_in(dir)
    }

    /// One that listens for TLS, too, with server.pem and server.key of that folder.
    pub(crate) fn start_with_tls(certificates: &Path) -> RabbitMqServer {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tls")).unwrap();
        for file in ["server.pem", "server.key"] {
            std::fs::copy(certificates.join(file), dir.path().join("tls").join(file)).unwrap();
        }
        RabbitMqServer::start_in(dir)
    }

    fn start_in(dir: TempDir) -> RabbitMqServer {
        let (running, urls) = run(dir.path());
        RabbitMqServer { dir, running, urls }
    }

    /// Where it listens; the same after a restart.
    pub(crate) fn url(&self) -> String {
        self.urls[0].clone()
    }

    /// Where it listens for TLS.
    pub(crate) fn tls_url(&self) -> String {
        self.urls[1].clone()
    }

    /// Makes the users of the operator's notes; where the coordinator finds the broker.
    pub(crate) fn admit_users(&self) -> String {
        for command in rabbitmq_users(PASSWORD) {
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            self.ctl(&command);
        }
        self.url_of(COORDINATOR, PASSWORD)
    }

    /// Where another user finds it.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        self.urls[0].replace("guest:guest", &format!("{user}:{password}"))
    }

    /// Kills it without a chance to write anything.
    pub(crate) fn kill_9(&mut self) {
        let killed = Command::new("kill")
            .args(["-KILL", &self.pid().to_string()])
            .status();
        assert!(killed.unwrap().success());
        self.stop();
    }

    /// Forgets all that it ever kept, after [`RabbitMqServer::kill_9`].
    pub(crate) fn wipe(&mut self) {
        std::fs::remove_dir_all(self.dir.path().join("mnesia")).unwrap();
        std::fs::create_dir(self.dir.path().join("mnesia")).unwrap();
    }

    /// Where it writes its logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        let pid = std::fs::read_to_string(self.dir.path().join("pid")).unwrap();
        pid.trim().parse().unwrap()
    }

    /// Starts what was killed.
    pub(crate) fn start_again(&mut self) {
        let (running, urls) = run(self.dir.path());
        assert_eq!(urls, self.urls);
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

impl Drop for RabbitMqServer {
    fn drop(&mut self) {
        // A test may have stopped the clock of a broker that it no longer has any use for.
        let _ = std::fs::read_to_string(self.dir.path().join("pid"))
            .map(|pid| Command::new("kill").args(["-CONT", pid.trim()]).status());
        self.stop();
    }
}

fn run(dir: &Path) -> (Child, Vec<String>) {
    let mut running = Command::new(SCRIPT)
        .arg(dir)
        // It stops when this end of the pipe goes.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = running.stdout.take().unwrap();
    let urls: Vec<String> = BufReader::new(stdout).lines().map(Result::unwrap).collect();
    assert!(!urls.is_empty(), "rabbitmq did not start");
    (running, urls)
}
