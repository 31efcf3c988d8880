//! Workers behind a network of their own each, and one of them cut off: Linux network namespaces on a bridge.

use super::{log, settings};
use crate::faults::audit::{Event, taken_over};
use crate::faults::chaos::{Chaos, LATENCY_MS};
use crate::faults::cluster::{CALLS_PER_WORKER, Cluster};
use crate::faults::table::{self, say};
use crate::support::{rabbitmq, redis_server};
use std::process::Command;
use std::time::{Duration, Instant};

const WORKERS: usize = 3;
const IN_FLIGHT: usize = WORKERS * CALLS_PER_WORKER;
const EXAMPLES: usize = 300;
const SEED: u64 = 11;

/// The interval between two checks whether other workers have claimed the tasks of the worker that is cut off.
const STEP: Duration = Duration::from_secs(1);

/// A bridge, and behind it a namespace for each worker; gone when dropped.
struct Network {
    bridge: String,
    /// The address of the bridge, where the servers listen.
    address: String,
    /// The namespaces and the bridge's ends of the cables to them.
    namespaces: Vec<(String, String)>,
}

#[test]
fn worker_cut_off_beyond_its_lease_resumes_without_repeated_work() {
    if !rabbitmq::installed() || !redis_server::is_installed() {
        return;
    }
    let network = match Network::build(WORKERS) {
        Ok(network) => network,
        Err(reason) => return say(&format!("SKIPPED: no network namespaces for workers: {reason}")),
    };
    let began = Instant::now();
    let cut = settings::cut();
    let cluster = Cluster::start(SEED, &network.address, EXAMPLES, LATENCY_MS);
    let undisturbed = cluster.compile_undisturbed();
    let mut chaos = Chaos::start(cluster);
    let names: Vec<String> = (network.namespaces.iter())
        .map(|(namespace, _)| chaos.cluster.start_worker(Some(namespace)))
        .collect();

    // However long the cut lasts, half of the questions are left.
    chaos.let_ask(undisturbed / 2);
    let before = chaos.until("a tenth of the questions", |now| now.asked >= undisturbed / 10);
    let away = Instant::now();
    let from = log::now();
    network.cut_off(0);
    let mut after = chaos.until("the cut to be over", |_| away.elapsed() >= cut);
    let absence = || Event::Away {
        worker: names[0].clone(),
        from,
        to: log::now(),
    };
    // The broker notices before long that the worker is gone.
    while !after.done && taken_over(&absence(), &chaos.cluster.logs()) == 0 {
        // A few questions at a time: the other workers become idle, and tasks are left for the worker that returns.
        chaos.cluster.lm.hold_after_questions(after.asked);
        let since = Instant::now();
        after = chaos.until("others to take its tasks", |_| since.elapsed() >= STEP);
    }
    chaos.events.push(absence());
    let to = log::now();
    network.connect(0);
    assert!(
        after.asked > before.asked + IN_FLIGHT && !after.done,
        "the others did not go on, or have done all: {before:?}, {after:?}"
    );

    let recorded = |chaos: &Chaos, since: f64| {
        let (_, text) = chaos
            .cluster
            .logs()
            .into_iter()
            .find(|(name, _)| *name == names[0])
            .unwrap();
        log::read(&text)
            .filter(|line| line.at > since && line.contains("answer recorded"))
            .count()
    };
    assert!(
        recorded(&chaos, 0.0) > 0,
        "it had not worked before it was cut off"
    );
    // It takes part again before the rest is asked.
    let log = chaos.cluster.folder.path(&format!("logs/{}.log", names[0]));
    chaos.until("who was cut off to take a task", |_| {
        let text = std::fs::read_to_string(&log).unwrap();
        log::read(&text).any(|line| line.at > to && line.contains("task claimed"))
    });
    chaos.cluster.lm.release();
    // More than it can have had in hand when it was cut off.
    let mut since = 0;
    while since <= 2 * CALLS_PER_WORKER {
        let asked = chaos.until("more questions", |_| true).asked;
        let now = chaos.until("who was cut off to go on", |now| now.asked > asked);
        since = recorded(&chaos, to);
        assert!(
            !now.done || since > 2 * CALLS_PER_WORKER,
            "it was over before who was cut off went on: {since}"
        );
    }
    chaos.until("the end", |now| now.done);
    chaos.dismiss();
    let audit = chaos.verdict(EXAMPLES);
    say(&format!(
        "\na worker was cut off for {:.1} s and recorded {} answers after it was back",
        to - from,
        recorded(&chaos, to)
    ));
    table::print(SEED, &[], &audit, began.elapsed());
}

impl Network {
    /// So many namespaces, or why there are none.
    fn build(namespaces: usize) -> Result<Network, String> {
        let pid = std::process::id();
        let subnet = format!("198.18.{}", pid % 250);
        let mut network = Network {
            bridge: format!("bsft{pid}"),
            address: format!("{subnet}.1"),
            namespaces: Vec::new(),
        };
        let Network { bridge, address, .. } = &network;
        let (bridge, address) = (bridge.clone(), address.clone());
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add {address}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for number in 0..namespaces {
            let (namespace, cable) = (format!("bsft-{pid}-{number}"), format!("bs{pid}-{number}"));
            ip(&format!("netns add {namespace}"))?;
            network.namespaces.push((namespace.clone(), cable.clone()));
            ip(&format!(
                "link add {cable} type veth peer name eth0 netns {namespace}"
            ))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!(
                "-n {namespace} addr add {subnet}.{}/24 dev eth0",
                number + 2
            ))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        Ok(network)
    }

    fn cut_off(&self, number: usize) {
        ip(&format!("link set {} down", self.namespaces[number].1)).unwrap();
    }

    fn connect(&self, number: usize) {
        ip(&format!("link set {} up", self.namespaces[number].1)).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was never built cannot be removed; the cables go with their namespaces.
        for (namespace, _) in &self.namespaces {
            let _ = ip(&format!("netns del {namespace}"));
        }
        let _ = ip(&format!("link del {}", self.bridge));
    }
}

/// Runs `ip`; the reason when it cannot.
fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .map_err(|error| format!("ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {arguments}: {}", said.trim()))
}
