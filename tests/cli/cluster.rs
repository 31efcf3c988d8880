//! The same jobs on RabbitMQ and Redis: coordinator and workers in processes of their own, and real servers.

use crate::support::documented_rights::{USER, redis_user};
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::redis_server::{RedisServer, is_installed};
use crate::support::{Ended, Folder, JobFile, LmServer, ReservedPort, Running, clean, lines, same, until};
use std::num::NonZeroUsize;
use std::process::Command;

const EXAMPLES: usize = 150;

/// A broker that tests share, in a namespace of this test's own, and a Redis. Their users have only the rights that the operator's
/// notes list.
pub(crate) struct Cluster {
    amqp_url: String,
    /// Where the test has one to itself, to kill it.
    pub(crate) rabbitmq: Option<RabbitMqServer>,
    pub(crate) redis: RedisServer,
    namespace: String,
}

/// The password of the Redis user.
const PASSWORD: &str = "hunter2";

impl Cluster {
    /// `None` if a server is not installed on this machine, which is printed.
    pub(crate) fn start() -> Option<Cluster> {
        (rabbitmq::installed() && is_installed()).then(|| Cluster::new(rabbitmq::shared_url(), None))
    }

    /// With a broker of its own, and the rights of its first user, who is there again when it was wiped.
    pub(crate) fn start_apart() -> Option<Cluster> {
        (rabbitmq::installed() && is_installed()).then(|| {
            let rabbitmq = RabbitMqServer::start("[].");
            Cluster::new(rabbitmq.url(), Some(rabbitmq))
        })
    }

    fn new(amqp_url: String, rabbitmq: Option<RabbitMqServer>) -> Cluster {
        let namespace = format!("cli-{:016x}", fastrand::u64(..));
        let rules = redis_user(PASSWORD, &namespace);
        let user = ["--user", USER]
            .into_iter()
            .chain(rules.iter().map(String::as_str));
        Cluster {
            amqp_url,
            rabbitmq,
            redis: RedisServer::start(&user.collect::<Vec<_>>()),
            namespace,
        }
    }

    fn redis_url(&self) -> String {
        format!("redis://{USER}:{PASSWORD}@127.0.0.1:{}", self.redis.port())
    }

    /// Replaces the password of the Redis user, and closes the user's connections.
    pub(crate) fn change_password(&self, password: &str) {
        let password = format!(">{password}");
        self.redis.ask(&["ACL", "SETUSER", USER, "resetpass", &password]);
        self.redis.ask(&["CLIENT", "KILL", "USER", USER]);
    }

    /// Restores the first password.
    pub(crate) fn set_password_back(&self) {
        self.change_password(PASSWORD);
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("BSFT_AMQP_URL", self.amqp_url.clone()),
            ("BSFT_REDIS_URL", self.redis_url()),
            ("BSFT_NAMESPACE", self.namespace.clone()),
        ]
    }

    pub(crate) fn worker(&self, arguments: &[&str]) -> Running {
        self.worker_with(arguments, &[])
    }

    /// The same with more variables.
    pub(crate) fn worker_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
        command.args(arguments).envs(self.variables());
        command.envs(variables.iter().copied());
        Running::start(command)
    }

    pub(crate) fn start_in(&self, folder: &Folder, arguments: &[&str]) -> Running {
        let variables = self.variables();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        folder.start_with(arguments, &variables)
    }

    pub(crate) fn run_in(&self, folder: &Folder, arguments: &[&str]) -> Ended {
        self.start_in(folder, arguments).end()
    }

    /// Consumes and acks the message that circulates in the finetune queue.
    pub(crate) fn forget_finetune_message(&self) {
        use bsft::broker::{Broker as _, Queue, rabbitmq::RabbitMqBroker};
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let broker = RabbitMqBroker::connect(&self.amqp_url, &self.namespace)
                .await
                .unwrap();
            let mut queue = broker.consume(&Queue::Finetune, NonZeroUsize::MIN).await.unwrap();
            let delivery = queue.next().await.unwrap().unwrap();
            delivery.ack().await.unwrap();
            drop(queue);
            broker.close().await;
        });
    }

    /// Publishes a task of a run that the store does not know yet.
    pub(crate) fn publish_task(&self) {
        use bsft::message::{BootstrapTask, MESSAGE_VERSION};
        use bsft::task::{RunId, TaskId};
        let task = BootstrapTask {
            v: MESSAGE_VERSION,
            run: RunId("run".to_owned()),
            job: String::new(),
            task: TaskId([1; 16]),
            teacher: 0,
            example: 0,
            labels: 0,
            answered: false,
            notes: true,
            data: "{}".to_owned(),
        };
        self.publish(task.encode());
    }

    /// Publishes a message that is longer than any task.
    pub(crate) fn publish_long_message(&self) {
        self.publish(vec![b'x'; bsft::broker::LONGEST_MESSAGE + 1]);
    }

    fn publish(&self, body: Vec<u8>) {
        use bsft::broker::{Broker as _, Queue, rabbitmq::RabbitMqBroker};
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let broker = RabbitMqBroker::connect(&self.amqp_url, &self.namespace)
                .await
                .unwrap();
            broker.publish(&Queue::Bootstrap, vec![body]).await.unwrap();
            broker.close().await;
        });
    }

    /// The answers that are recorded for tasks without an outcome.
    pub(crate) fn recorded_answers(&self) -> usize {
        const COUNT: &str = "
            local answers = 0
            for _, task in ipairs(redis.call('KEYS', '*:task:*')) do
                if redis.call('HEXISTS', task, 'p') == 0 then
                    for _, field in ipairs(redis.call('HKEYS', task)) do
                        answers = answers + (string.find(field, '^%d') or 0)
                    end
                end
            end
            return answers";
        redis::from_redis_value(self.redis.ask(&["EVAL", COUNT, "0"])).unwrap()
    }

    /// The name of a key of the run.
    pub(crate) fn key(&self, run: &str, name: &str) -> String {
        format!("bsft:{}:v1:{{{run}}}:{name}", self.namespace)
    }

    /// The one run of the namespace, as `status` reports it.
    pub(crate) fn status(&self, folder: &Folder) -> Option<serde_json::Value> {
        let ended = self.run_in(folder, &["status", "--json"]).with(0);
        let mut runs: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
        assert!(runs.len() <= 1, "{runs:?}");
        runs.pop()
    }
}

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A folder with the job, and another with what it comes to on one machine.
pub(crate) fn job(server: &LmServer, examples: usize) -> (Folder, Folder) {
    let (folder, reference) = (Folder::new(), Folder::new());
    JobFile::at(&server.base()).write(&folder, examples);
    JobFile::at(&server.base()).write(&reference, examples);
    reference.compile("run").with(0);
    server.reset();
    (folder, reference)
}

#[test]
fn compile_on_a_cluster_has_the_same_bytes_and_repeats_no_call() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    let workers = [cluster.worker(&["--concurrency", "8"]), cluster.worker(&[])];
    let ended = cluster.run_in(&folder, &COMPILE).with(0);
    assert_eq!(ended.stdout, "", "stdout is for machines");
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0);
    assert!(!folder.path("run/state.redb").exists());
    for worker in workers {
        worker.signal("TERM");
        worker.end().with(0);
    }
    // And what is done needs no worker.
    cluster.run_in(&folder, &COMPILE).with(0);
}

#[test]
fn compile_workers_starts_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    cluster
        .run_in(&folder, &["compile", "job.toml", "--workers", "2"])
        .with(0);
    assert_eq!(lines(&folder.read("runs/tested/traces.jsonl")).len(), 20);
}

#[test]
fn cancel_ends_compile_with_code_3_and_the_next_compile_resumes() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let slow = cluster.worker(&["--concurrency", "2"]);
    let running = cluster.start_in(&folder, &COMPILE);
    until("a trace", || (folder.traced("run") > 0).then_some(()));
    let status = cluster.status(&folder).unwrap();
    assert_eq!(status["phase"], "bootstrap");
    let run = status["run"].as_str().unwrap();
    // Messages that it has not taken stay in the queue.
    slow.signal("TERM");
    slow.until_draining();
    server.release();
    slow.end().with(0);
    cluster.run_in(&folder, &["cancel", run]).with(0);
    running
        .end()
        .with(3)
        .saying("cancelled")
        .saying("compile job.toml");
    assert!(folder.traced("run") < EXAMPLES);
    assert_eq!(cluster.status(&folder).unwrap()["cancelled"], true);
    let asked = server.count();
    let _fast = cluster.worker(&["--concurrency", "128"]);
    until("the worker to drop what was published", || {
        let status = cluster.status(&folder).unwrap();
        (status["queues"]["bootstrap"] == 0).then_some(())
    });
    assert_eq!(server.count(), asked, "a cancelled run was worked on");
    cluster.run_in(&folder, &COMPILE).with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0);
    cluster
        .run_in(&folder, &["cancel", "no-such-run"])
        .with(2)
        .saying("no-such-run");
}

#[test]
fn second_coordinator_of_a_live_run_is_refused_in_any_folder() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    // No worker: it waits.
    let first = cluster.start_in(&folder, &COMPILE);
    until("the run to be reported", || cluster.status(&folder));
    let second = ["compile", "job.toml", "--out", "elsewhere"];
    let refused = cluster.run_in(&folder, &second).with(1).saying("in use");
    assert!(refused.stderr.contains("process"), "{}", refused.stderr);
    cluster.run_in(&folder, &COMPILE).with(1).saying("in use");
    first.signal("INT");
    first.end().with(3);
    // The one that ended in order left nothing to wait for.
    let _worker = cluster.worker(&[]);
    cluster.run_in(&folder, &second).with(0);
}

#[test]
fn successor_of_a_killed_coordinator_repeats_no_call() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    let _worker = cluster.worker(&["--concurrency", "4"]);
    // However late it is killed, it has not ended.
    server.hold_from(EXAMPLES - 1);
    let mut running = cluster.start_in(&folder, &COMPILE);
    until("traces", || (folder.traced("run") > EXAMPLES / 4).then_some(()));
    running.kill();
    assert_eq!(running.end().code, None);
    server.release();
    cluster.run_in(&folder, &COMPILE).with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0);
}

#[test]
fn compile_repeats_examples_of_a_lost_out_folder_and_warns() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    let _worker = cluster.worker(&[]);
    cluster.run_in(&folder, &COMPILE).with(0);
    std::fs::remove_dir_all(folder.path("run")).unwrap();
    cluster
        .run_in(&folder, &COMPILE)
        .with(0)
        .saying("store has outcomes that DIR lacks");
    same(&folder.result("run"), &reference.result("run"));
}

#[test]
fn compile_completes_an_older_copy_of_out_and_warns() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    let _worker = cluster.worker(&[]);
    cluster.run_in(&folder, &COMPILE).with(0);
    let traces = folder.read("run/traces.jsonl");
    let older: Vec<&str> = traces.lines().take(EXAMPLES / 2).collect();
    folder.write("run/traces.jsonl", older.join("\n") + "\n");
    cluster
        .run_in(&folder, &COMPILE)
        .with(0)
        .saying("store has outcomes that DIR lacks");
    same(&folder.result("run"), &reference.result("run"));
}

#[test]
fn compile_warns_when_all_workers_are_gone() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, _reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let mut worker = cluster.worker(&["--concurrency", "2"]);
    let running = cluster.start_in(&folder, &COMPILE);
    until("a trace", || (folder.traced("run") > 0).then_some(()));
    worker.kill();
    worker.end();
    running.until_said("no worker sends heartbeats");
    running.signal("INT");
    running.end().with(3);
}

#[test]
fn run_of_one_process_resumes_on_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let running = folder.start(&["compile", "job.toml", "--out", "run", "--concurrency", "4"]);
    until("a trace", || (folder.traced("run") > 0).then_some(()));
    running.signal("INT");
    running.until_draining();
    server.release();
    running.end().with(3);
    assert!(folder.traced("run") < EXAMPLES);
    let _worker = cluster.worker(&[]);
    cluster.run_in(&folder, &COMPILE).with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0, "what state.redb had was fetched");
}

#[test]
fn two_jobs_share_workers_and_stay_separate() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (one, reference) = job(&server, EXAMPLES);
    let other_server = LmServer::start("messy");
    let (other, other_reference) = job(&other_server, EXAMPLES);
    let compiling = [
        cluster.start_in(&one, &COMPILE),
        cluster.start_in(&other, &COMPILE),
    ];
    until("both to have published their first examples", || {
        let ended = cluster.run_in(&one, &["status", "--json"]).with(0);
        let runs: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
        let waiting = runs.first()?["queues"]["bootstrap"].as_u64()?;
        (waiting == 2).then_some(())
    });
    let _worker = cluster.worker(&["--concurrency", "4"]);
    for running in compiling {
        running.end().with(0);
    }
    same(&one.result("run"), &reference.result("run"));
    same(&other.result("run"), &other_reference.result("run"));
    assert_eq!(server.count().repeated, 0);
    assert_eq!(other_server.count().repeated, 0);
}

#[test]
fn namespaces_are_separate() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    // The user may not use it.
    let redis = cluster.redis.url();
    let elsewhere = ["--namespace", "elsewhere", "--redis-url", &redis];
    let _other = cluster.worker(&elsewhere);
    let running = cluster.start_in(&folder, &COMPILE);
    until("the first example to be published", || {
        (cluster.status(&folder)?["queues"]["bootstrap"] == 1).then_some(())
    });
    let status = [&["status", "--json"][..], &elsewhere].concat();
    let ended = cluster.run_in(&folder, &status);
    assert_eq!(ended.with(0).stdout.trim(), "[]");
    let _ours = cluster.worker(&[]);
    running.end().with(0);
}

#[test]
fn worker_with_lanes_consumes_only_those() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    let _bootstrap = cluster.worker(&["--lanes", "bootstrap"]);
    let running = cluster.start_in(&folder, &COMPILE);
    until("the fine-tune task to wait", || {
        (cluster.status(&folder)?["queues"]["finetune"] == 1).then_some(())
    });
    let _finetune = cluster.worker(&["--lanes", "finetune"]);
    running.end().with(0);
    cluster.worker(&["--lanes", "training"]).end().with(2);
}

#[test]
fn foreign_messages_go_to_the_dead_letters() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        use bsft::broker::{Broker as _, Queue, rabbitmq::RabbitMqBroker};
        let broker = RabbitMqBroker::connect(&cluster.amqp_url, &cluster.namespace)
            .await
            .unwrap();
        let foreign = vec![b"hello".to_vec(), b"{}".to_vec(), vec![0xff; 9]];
        broker.publish(&Queue::Bootstrap, foreign.clone()).await.unwrap();
        broker.publish(&Queue::Finetune, foreign).await.unwrap();
        // Another bsft's: left for a worker that knows it.
        let newer = vec![br#"{"v":99,"news":true}"#.to_vec()];
        broker.publish(&Queue::Bootstrap, newer).await.unwrap();
        broker.close().await;
    });
    let worker = cluster.worker(&[]);
    cluster.run_in(&folder, &COMPILE).with(0);
    let dead = until("all of them to be dead letters", || {
        let queues = &cluster.status(&folder)?["queues"];
        let dead = |queue| queues[queue].as_u64();
        Some((dead("dead_bootstrap")?, dead("dead_finetune")?)).filter(|(a, b)| a + b == 6)
    });
    assert_eq!(dead, (3, 3));
    worker.signal("TERM");
    let ended = worker.end().with(0);
    // The same reason is logged once in a while, however many messages have it.
    let told = ended.stderr.matches("dead letters").count();
    assert!((2..=6).contains(&told), "{}", ended.stderr);
    assert!(ended.stderr.contains("message version 99"), "{}", ended.stderr);
}

#[test]
fn unreachable_service_ends_with_code_4_and_hides_its_password() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let ports = [ReservedPort::new(), ReservedPort::new()];
    let (amqp, redis) = (
        format!("amqp://u:hidden@127.0.0.1:{}", ports[0].number()),
        format!("redis://u:hidden@127.0.0.1:{}", ports[1].number()),
    );
    let urls = [("BSFT_AMQP_URL", &*amqp), ("BSFT_REDIS_URL", &*redis)];
    let mut worker = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
    worker.envs(urls);
    for ended in [
        folder.start_with(&COMPILE, &urls).end(),
        folder.start_with(&["status"], &urls).end(),
        Running::start(worker).end(),
    ] {
        let shown = |url: &str| url.replace(":hidden", "");
        let ended = ended
            .with(4)
            .saying(&shown(&amqp))
            .saying(&shown(&redis))
            .saying("check");
        assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    }
}

#[test]
fn worker_without_urls_names_them() {
    let worker = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
    Running::start(worker)
        .end()
        .with(2)
        .saying("BSFT_AMQP_URL and BSFT_REDIS_URL");
}
