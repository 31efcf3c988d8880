//! LM calls that were in flight when their process was killed: they stay in the books, apart from what is known to be paid.

use crate::cli::cluster::Cluster;
use crate::support::{Folder, JobFile, Line, LmServer, lines, until};

const EXAMPLES: usize = 150;

/// The first example whose answers are held back.
const HELD: usize = 60;

/// Calls in flight: so few that a server is not slowed down for.
const IN_FLIGHT: usize = 4;

const COMPILE: [&str; 6] = ["compile", "job.toml", "--out", "run", "--concurrency", "4"];

/// Without workers here.
const COORDINATE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

fn job(server: &LmServer) -> Folder {
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.teacher.push_str("\nmax_tokens = 100");
    job.write(&folder, EXAMPLES);
    folder
}

/// All calls that may be in flight wait for their answers, and all other answers are recorded. Calls of earlier examples may wait for a
/// permit, so nothing is expected of these.
fn until_still(folder: &Folder, server: &LmServer) {
    until("the calls to wait", || {
        // Missing until the first call.
        let marks = std::fs::read_to_string(folder.path("run/calls-in-flight")).unwrap_or_default();
        let marked = marks.lines().filter(|mark| mark.starts_with('{')).count();
        (server.held() == IN_FLIGHT && marked == IN_FLIGHT).then_some(())
    });
}

/// The same of a worker with that many calls in flight. It has no marks: an answer is in DIR, or in Redis with a task that has no outcome.
fn until_worker_is_still(cluster: &Cluster, folder: &Folder, server: &LmServer, in_flight: usize) {
    until("the calls to wait", || {
        // First: from then on no further call is answered.
        let is_full = server.held() == in_flight;
        let answered = server.count().requests.saturating_sub(in_flight);
        let recorded = 2 * folder.traced("run") + cluster.recorded_answers();
        (is_full && recorded == answered).then_some(())
    });
}

fn entries(folder: &Folder, kind: &str) -> Vec<Line> {
    let lines = lines(&folder.read("run/spend.jsonl"));
    lines.iter().filter_map(|line| line.get(kind).cloned()).collect()
}

/// The sums of `run.json` are those of `spend.jsonl`, and the settled cost is that of the server's answers.
#[track_caller]
fn assert_books(folder: &Folder, server: &LmServer) -> usize {
    let manifest: Line = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let (tally, paid) = (&manifest["tally"], server.paid());
    let known = &tally["lms"]["teacher"];
    assert_eq!(known["answers"], paid.answers);
    assert_eq!(known["prompt_tokens"], paid.prompt_tokens);
    assert_eq!(known["completion_tokens"], paid.completion_tokens);
    let unsettled = entries(folder, "unsettled");
    let sum = |key: &str| {
        unsettled
            .iter()
            .map(|call| call[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let totals = &tally["unsettled"]["teacher"];
    assert_eq!(totals["calls"], unsettled.len());
    assert_eq!(totals["prompt_tokens"], sum("prompt_tokens"));
    assert_eq!(totals["completion_tokens"], sum("completion_tokens"));
    assert_eq!(sum("completion_tokens"), 100 * unsettled.len() as u64);
    unsettled.len()
}

#[test]
fn calls_in_flight_at_a_kill_are_unsettled_and_no_others() {
    let server = LmServer::start("clean");
    let folder = job(&server);
    server.hold_from(HELD);
    let mut killed = 0;
    for _ in 0..2 {
        let mut running = folder.start(&COMPILE);
        until_still(&folder, &server);
        // The next process has them in the books before it asks anything.
        assert_eq!(entries(&folder, "unsettled").len(), killed);
        running.kill();
        killed += IN_FLIGHT;
        until("the server to notice", || (server.held() == 0).then_some(()));
    }
    server.release();
    let ended = folder.run(&COMPILE).with(0);
    assert_eq!(assert_books(&folder, &server), killed);
    let count = server.count();
    // Each of them was asked once more than it was answered, and no other was.
    assert_eq!(
        (count.requests, count.distinct),
        (2 * EXAMPLES + killed, 2 * EXAMPLES)
    );
    ended.saying(&format!("{killed} calls unsettled, at most "));
    let status = folder.run(&["status", "run"]).with(0).stdout;
    assert!(status.contains(&format!("{killed} calls unsettled")), "{status}");
}

#[test]
fn undisturbed_run_has_a_latency_for_each_answer_and_nothing_unsettled() {
    let server = LmServer::start("mild");
    let folder = job(&server);
    folder.run(&COMPILE).with(0);
    assert_eq!(entries(&folder, "unsettled"), Vec::<Line>::new());
    let outcomes = entries(&folder, "outcome");
    let paid = outcomes
        .iter()
        .flat_map(|outcome| outcome["paid"].as_array().unwrap());
    let mut answers = 0;
    for paid in paid {
        let latencies = paid["latency_ms"].as_array().unwrap().len() as u64;
        assert_eq!(paid["answers"], latencies, "{paid}");
        answers += latencies;
    }
    assert_eq!(answers, server.paid().answers);
    assert_eq!(
        folder
            .read("run/calls-in-flight")
            .trim()
            .replace([' ', '\n'], "")
            .find("{\"task"),
        None
    );
    // Neither shows in the results.
    assert!(!folder.read("run/traces.jsonl").contains("latency"));
}

#[test]
fn drained_run_has_nothing_unsettled() {
    let server = LmServer::start("clean");
    let folder = job(&server);
    server.hold_from(HELD);
    let running = folder.start(&COMPILE);
    until_still(&folder, &server);
    running.signal("TERM");
    running.until_draining();
    server.release();
    running.end().with(3);
    folder.run(&COMPILE).with(0);
    assert_eq!(entries(&folder, "unsettled"), Vec::<Line>::new());
    assert_eq!(server.count().repeated, 0);
}

#[test]
fn calls_of_a_killed_worker_are_unsettled() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let folder = job(&server);
    server.hold_from(HELD);
    let mut worker = cluster.worker(&["--concurrency", "8"]);
    let coordinator = cluster.start_in(&folder, &COORDINATE);
    until_worker_is_still(&cluster, &folder, &server, 8);
    worker.kill();
    until("the server to notice", || (server.held() == 0).then_some(()));
    server.release();
    let _next = cluster.worker(&["--concurrency", "8"]);
    coordinator.end().with(0);
    let unsettled = assert_books(&folder, &server);
    assert_eq!(server.count().repeated, 8);
    // A task that had been taken, and waited for one of the calls to end, may count as one.
    assert!((8..=10).contains(&unsettled), "{unsettled}");
}
