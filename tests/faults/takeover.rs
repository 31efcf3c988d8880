//! A coordinator is killed, and another takes its run over, while more goes wrong.

use super::log;
use crate::faults::audit::{Event, SYNC};
use crate::faults::chaos::{Chaos, LATENCY_MS};
use crate::faults::cluster::Cluster;
use crate::support::{rabbitmq, redis_server};

const EXAMPLES: usize = 60;

#[test]
fn coordinator_waiting_for_a_dead_lease_survives_a_redis_outage() {
    if !rabbitmq::installed() || !redis_server::is_installed() {
        return;
    }
    let cluster = Cluster::start(1, "127.0.0.1", EXAMPLES, LATENCY_MS);
    cluster.compile_undisturbed();
    let mut chaos = Chaos::start(cluster);
    // Whatever takes how long, there is work left.
    chaos.cluster.lm.hold_from(EXAMPLES / 2);
    chaos.cluster.start_worker(None);
    chaos.until("a trace", |now| now.traced > 0);
    chaos.cluster.coordinator.take().unwrap().kill_9();
    chaos.cluster.start_coordinator();
    until_logged(&mut chaos, "waiting for another coordinator's lease");
    let from = log::now();
    chaos.cluster.redis.kill();
    until_logged(&mut chaos, "retrying");
    chaos.cluster.redis.start_again();
    chaos.events.push(Event::StoreKilled {
        kept: from - SYNC,
        from,
        to: log::now(),
    });
    chaos.cluster.lm.release();
    chaos.until("the end", |now| now.done);
    chaos.dismiss();
    chaos.verdict(EXAMPLES);
}

fn until_logged(chaos: &mut Chaos, words: &str) {
    let log = chaos.cluster.folder.path("logs/coordinator.log");
    let now = chaos.until(words, |_| std::fs::read_to_string(&log).unwrap().contains(words));
    assert!(!now.done, "the run ended before it logged {words:?}");
}
