//! A Redis server of the test's own: on a free port, in a folder of its own, gone with the test.

use super::port::ReservedPort;
use super::wait::until;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use tempfile::TempDir;

/// Runs a server until this shell's input ends, however the test ends, and prints its process id.
const WHILE_STDIN: &str = r#"redis-server "$@" >/dev/null & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null"#;

/// The port of a cluster's bus is this much above the server's, and has to be one.
const BUS: u16 = 10_000;

/// The port for TLS is this much above the plain one, where it was asked for.
const TLS: u16 = 1;

/// A running server.
pub(crate) struct RedisServer {
    dir: TempDir,
    port: u16,
    /// All that it may listen on, also while it is killed.
    _reserved: [ReservedPort; 3],
    settings: Vec<String>,
    process: Process,
}

struct Process {
    shell: Child,
    pid: u32,
}

/// Whether there is one to start; prints a line if not.
pub(crate) fn is_installed() -> bool {
    let there = Command::new("redis-server").arg("--version").output().is_ok();
    if !there {
        #[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
        {
            eprintln!("SKIPPED: redis-server is not installed (apt-get install redis-server)");
        }
    }
    there
}

impl RedisServer {
    /// With these settings, as on the command line, beside an append-only file.
    pub(crate) fn start(settings: &[&str]) -> RedisServer {
        RedisServer::start_where(|_| owned(settings))
    }

    /// The same with a port for TLS beside the plain one, and server.pem and server.key of that folder.
    pub(crate) fn start_with_tls(certificates: &Path, settings: &[&str]) -> RedisServer {
        let file = |name: &str| certificates.join(name).to_str().unwrap().to_owned();
        RedisServer::start_where(|port| {
            let tls = [
                ("--tls-port", (port + TLS).to_string()),
                ("--tls-auth-clients", "no".to_owned()),
                ("--tls-ca-cert-file", file("authority.pem")),
                ("--tls-cert-file", file("server.pem")),
                ("--tls-key-file", file("server.key")),
            ];
            let tls = tls.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
            tls.chain(owned(settings)).collect()
        })
    }

    /// With the settings for a port.
    fn start_where(settings: impl Fn(u16) -> Vec<String>) -> RedisServer {
        let dir = tempfile::tempdir().unwrap();
        let (reserved, port, process) = until("free ports for Redis", || {
            let first = ReservedPort::new();
            let port = first.number();
            let more = ReservedPort::at(port.checked_add(BUS)?).zip(ReservedPort::at(port + TLS));
            let process =
                more.map(|(bus, tls)| ([first, bus, tls], Process::start(&dir, port, &settings(port))));
            let (reserved, process) = process?;
            Some((reserved, port, process?))
        });
        RedisServer {
            dir,
            port,
            _reserved: reserved,
            settings: settings(port),
            process,
        }
    }

    /// A cluster of one node, which keeps what it has acknowledged.
    pub(crate) fn start_cluster() -> RedisServer {
        let server = RedisServer::start(&["--cluster-enabled", "yes", "--appendfsync", "always"]);
        server.become_cluster();
        server
    }

    /// Takes all slots of the cluster that it was set up for.
    pub(crate) fn become_cluster(&self) {
        self.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        until("the cluster to be complete", || {
            let state: String = redis::from_redis_value(self.ask(&["CLUSTER", "INFO"])).unwrap();
            state.contains("cluster_state:ok").then_some(())
        });
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// The server again, after [`RedisServer::kill`], with what its files have.
    pub(crate) fn start_again(&mut self) {
        self.process = until("the port to be free again", || {
            Process::start(&self.dir, self.port, &self.settings)
        });
    }

    /// The same with more settings.
    pub(crate) fn start_again_with(&mut self, settings: &[&str]) {
        self.settings.extend(owned(settings));
        self.start_again();
    }

    /// How much is in the file to which every change is added.
    pub(crate) fn written(&self) -> u64 {
        std::fs::metadata(self.changes()).unwrap().len()
    }

    /// Loses all that was written after so much, as a power failure does, after [`RedisServer::kill`].
    pub(crate) fn lose_after(&mut self, written: u64) {
        let file = std::fs::File::options().write(true).open(self.changes()).unwrap();
        file.set_len(written).unwrap();
    }

    fn changes(&self) -> PathBuf {
        let files = std::fs::read_dir(self.dir.path().join("appendonlydir")).unwrap();
        let mut files: Vec<PathBuf> = files
            .map(|file| file.unwrap().path())
            .filter(|file| file.extension().is_some_and(|extension| extension == "aof"))
            .filter(|file| file.to_string_lossy().contains(".incr."))
            .collect();
        assert_eq!(files.len(), 1, "Redis rewrites its file just now: {files:?}");
        files.remove(0)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens for TLS, if it was asked to.
    pub(crate) fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port + TLS)
    }

    /// Does as the administrator does, over a connection of its own.
    pub(crate) fn ask(&self, command: &[&str]) -> redis::Value {
        ask(self.port, command).unwrap()
    }

    /// Does it with each key that matches the pattern, in place of `KEY`.
    pub(crate) fn ask_for_each(&self, pattern: &str, command: &[&str]) {
        let keys: Vec<String> = redis::from_redis_value(self.ask(&["KEYS", pattern])).unwrap();
        assert!(!keys.is_empty(), "{pattern}");
        for key in &keys {
            let parts = command
                .iter()
                .map(|part| if *part == "KEY" { key.as_str() } else { part });
            self.ask(&parts.collect::<Vec<_>>());
        }
    }

    /// Creates a key from what DUMP returned for it, with a time to live in milliseconds (0 if it does not expire).
    pub(crate) fn restore(&self, key: &str, ttl_ms: u64, dump: &[u8]) {
        let mut request = redis::cmd("RESTORE");
        request.arg(key).arg(ttl_ms).arg(dump);
        let client = redis::Client::open(("127.0.0.1", self.port)).unwrap();
        request.exec(&mut client.get_connection().unwrap()).unwrap();
    }

    /// A number from INFO.
    pub(crate) fn info<T: FromStr>(&self, name: &str) -> T {
        let info: String = redis::from_redis_value(self.ask(&["INFO"])).unwrap();
        field(&info, name).unwrap()
    }
}

impl Process {
    /// `None`: the port was taken.
    fn start(dir: &TempDir, port: u16, settings: &[String]) -> Option<Process> {
        let mut shell = Command::new("sh")
            .args(["-c", WHILE_STDIN, "sh", "--bind", "127.0.0.1", "--save", ""])
            .args(["--port", &port.to_string(), "--appendonly", "yes"])
            .arg("--dir")
            .arg(dir.path())
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut process = Process {
            shell,
            pid: line.trim().parse().unwrap(),
        };
        let ready = until("Redis to be ready", || {
            if !process.is_alive() {
                return Some(false);
            }
            match ask(port, &["INFO"]) {
                Ok(info) => {
                    let info: String = redis::from_redis_value(info).unwrap();
                    let ours = field(&info, "process_id") == Some(process.pid);
                    (ours && field(&info, "loading") == Some(0u8)).then_some(true)
                }
                // It has a password: it is ready to ask for it.
                Err(e) if e.code() == Some("NOAUTH") => Some(true),
                Err(_) => None,
            }
        });
        if !ready {
            process.kill();
        }
        ready.then_some(process)
    }

    fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }

    fn kill(&mut self) {
        // The end of its input makes the shell kill the server.
        drop(self.shell.stdin.take());
        // It fails only when the shell has ended already.
        let _ = self.shell.wait();
        until("Redis to be gone", || (!self.is_alive()).then_some(()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn owned(settings: &[&str]) -> Vec<String> {
    settings.iter().map(|setting| (*setting).to_owned()).collect()
}

fn ask(port: u16, command: &[&str]) -> redis::RedisResult<redis::Value> {
    let client = redis::Client::open(("127.0.0.1", port))?;
    let mut request = redis::Cmd::new();
    for part in command {
        request.arg(part);
    }
    request.query(&mut client.get_connection()?)
}

fn field<T: FromStr>(info: &str, name: &str) -> Option<T> {
    let mut fields = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    fields.find(|(field, _)| *field == name)?.1.parse().ok()
}
