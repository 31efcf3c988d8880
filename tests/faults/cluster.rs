//! A cluster: private RabbitMQ, Redis and LM server, worker processes, a coordinator, and a folder with the job and all logs.

use crate::faults::log::tail;
use crate::faults::process::Process;
use crate::support::rabbitmq::RabbitMqServer;
use crate::support::redis_server::RedisServer;
use crate::support::{Folder, JobFile, LmServer, clean};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The variable of a process's key for the LM. The key is the process's name, so the LM server can tell the processes apart.
const KEY: &str = "LM_TEST_KEY";

/// Redis is to add to one file for as long as it lives, so that its end can be cut off.
const NO_REWRITE: [&str; 2] = ["--auto-aof-rewrite-percentage", "0"];

/// LM calls that a worker has in flight.
pub(crate) const CALLS_PER_WORKER: usize = 4;

/// LM calls in flight of the undisturbed run.
const UNDISTURBED: &str = "200";

/// Where its worker and coordinator processes live and what they talk to.
pub(crate) struct Cluster {
    pub(crate) seed: u64,
    pub(crate) folder: Folder,
    pub(crate) lm: LmServer,
    pub(crate) rabbitmq: RabbitMqServer,
    pub(crate) redis: RedisServer,
    pub(crate) coordinator: Option<Process>,
    pub(crate) workers: Vec<Worker>,
    /// The address at which the servers are reached.
    address: String,
    /// Workers ever started.
    hired: usize,
    /// One cluster at a time: two would have half a machine each.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

/// A worker process.
pub(crate) struct Worker {
    /// What it calls itself at the LM server.
    pub(crate) name: String,
    pub(crate) process: Process,
}

impl Cluster {
    /// Servers that listen on that address, and a job of the given number of examples. The LM takes up to that many milliseconds for an
    /// answer.
    pub(crate) fn start(seed: u64, address: &str, examples: usize, latency_ms: u64) -> Cluster {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (rabbitmq, redis) = if address == "127.0.0.1" {
            (RabbitMqServer::start("[]."), RedisServer::start(&NO_REWRITE))
        } else {
            let bound = ["--bind", "127.0.0.1", address, "--protected-mode", "no"];
            (RabbitMqServer::start_on(address), RedisServer::start(&bound))
        };
        let lm = LmServer::start_on(
            0,
            &[
                // Answers that no adapter can read are among them.
                "--profile",
                "messy",
                "--fail-first",
                "0.2",
                "--host",
                "0.0.0.0",
                "--latency-ms",
                &latency_ms.to_string(),
            ],
        );
        let folder = Folder::new();
        fs::create_dir(folder.path("logs")).unwrap();
        let mut job = JobFile::at(&lm.base_on(address));
        job.teacher.push_str(&format!("\napi_key_env = \"{KEY}\""));
        job.compile = "multitask = false".to_owned();
        job.write(&folder, examples);
        folder.keys_file(&[(KEY, &lm.base_on(address))]);
        Cluster {
            seed,
            folder,
            lm,
            rabbitmq,
            redis,
            coordinator: None,
            workers: Vec::new(),
            address: address.to_owned(),
            hired: 0,
            _alone: alone,
        }
    }

    /// Compiles the job in one process, without a cluster, into `undisturbed`. Gives how many different
    /// questions the LM was asked.
    pub(crate) fn compile_undisturbed(&self) -> usize {
        self.lm.reset();
        let arguments = [
            "compile",
            "job.toml",
            "--out",
            "undisturbed",
            "--concurrency",
            UNDISTURBED,
        ];
        self.folder
            .start_with(&arguments, &[(KEY, "nobody")])
            .end()
            .with(0);
        let questions = self.lm.count().distinct;
        self.lm.reset();
        questions
    }

    /// The command that compiles the job on the cluster; the same every time.
    pub(crate) fn start_coordinator(&mut self) {
        let mut command = bound(&[env!("CARGO_BIN_EXE_bsft-coordinator")]);
        command.args(["compile", "job.toml", "--out", "run"]);
        self.surround(&mut command, "coordinator");
        self.coordinator = Some(Process::start(command, &self.log_of("coordinator")));
    }

    /// A new worker, in that network namespace if one is named. Gives its name.
    pub(crate) fn start_worker(&mut self, namespace: Option<&str>) -> String {
        let binary = env!("CARGO_BIN_EXE_bsft-worker");
        let mut command = match namespace {
            None => bound(&[binary]),
            Some(namespace) => bound(&["ip", "netns", "exec", namespace, binary]),
        };
        self.hired += 1;
        let name = format!("worker-{}", self.hired);
        command.args([
            "--concurrency",
            &CALLS_PER_WORKER.to_string(),
            "--keys",
            "keys.toml",
        ]);
        command.env("BSFT_LOG", "info,bsft::worker=trace,lapin=off");
        self.surround(&mut command, &name);
        self.workers.push(Worker {
            process: Process::start(command, &self.log_of(&name)),
            name: name.clone(),
        });
        name
    }

    fn surround(&self, command: &mut Command, name: &str) {
        let amqp = self.rabbitmq.url().replace("127.0.0.1", &self.address);
        command
            .current_dir(self.folder.path(""))
            .env("BSFT_AMQP_URL", amqp)
            .env(
                "BSFT_REDIS_URL",
                format!("redis://{}:{}", self.address, self.redis.port()),
            )
            .env(KEY, name);
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.folder.path(&format!("logs/{name}.log"))
    }

    /// Every process's log, by the process's name.
    pub(crate) fn logs(&self) -> Vec<(String, String)> {
        let mut logs: Vec<(String, String)> = fs::read_dir(self.folder.path("logs"))
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                (
                    name,
                    String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                )
            })
            .collect();
        logs.sort();
        logs
    }

    /// Panics with the last log lines of every process.
    #[track_caller]
    pub(crate) fn fail(&self, what: &str) -> ! {
        let mut said = tail(&self.log_of("coordinator"));
        for worker in &self.workers {
            said.push_str(&tail(worker.process.log()));
        }
        said.push_str(&tail(&self.rabbitmq.logs().join("rabbit.log")));
        panic!("seed {}: {what}\n{said}", self.seed);
    }
}

/// The command, to die with this process however it ends: bsft itself holds on while its services are away.
fn bound(command: &[&str]) -> Command {
    let mut bound = clean(Command::new("setpriv"));
    bound.args(["--pdeathsig", "KILL"]).args(command);
    bound
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("BSFT_FAULTS_KEEP").is_some() {
            let kept = format!("{}/faults-seed-{}", env!("CARGO_TARGET_TMPDIR"), self.seed);
            // An error here cannot be reported.
            let _ = fs::remove_dir_all(&kept);
            let copied = Command::new("cp")
                .arg("-r")
                .arg(self.folder.path(""))
                .arg(&kept)
                .status();
            crate::faults::table::say(&format!("the folder with all logs: {kept} ({copied:?})"));
        }
    }
}
