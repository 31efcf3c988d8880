//! An LM with two endpoints: a server that dies, is refused or is limited fails no example, and no file depends on which one answered.

use super::closed::quick;
use super::scene::KEY;
use super::{CALLS, EXAMPLES};
use crate::cli::cluster::Cluster;
use crate::support::{Ended, Folder, JobFile, lines, same};
use bsft_limited_lm::{LimitedServer, OutageKind, PlannedOutage, ServedCounts, ServerBehaviour};
use std::collections::BTreeMap;

/// The variable that holds the key of the second endpoint.
const OTHER_KEY: &str = "LM_TEST_OTHER_KEY";

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// Requests in flight at the default `--concurrency`.
const IN_FLIGHT: u64 = 64;

/// A folder with the job, and the servers of its LM.
struct TwoEndpoints {
    folder: Folder,
    servers: [LimitedServer; 2],
}

impl TwoEndpoints {
    fn new(first: ServerBehaviour, second: ServerBehaviour) -> TwoEndpoints {
        TwoEndpoints::with(first, second, ["", ""], "")
    }

    /// With further keys for each endpoint, and more TOML after `[lm.teacher]`.
    fn with(first: ServerBehaviour, second: ServerBehaviour, keys: [&str; 2], more: &str) -> TwoEndpoints {
        let servers = [first, second].map(|behaviour| LimitedServer::start(behaviour).unwrap());
        let scene = TwoEndpoints {
            folder: Folder::new(),
            servers,
        };
        let endpoints = scene.endpoints();
        let endpoints = [0, 1].map(|number| endpoints[number].replace(" }", &format!("{} }}", keys[number])));
        scene.write(&endpoints, more);
        scene
    }

    /// Each endpoint in the job file's notation.
    fn endpoints(&self) -> [String; 2] {
        [(0, KEY), (1, OTHER_KEY)].map(|(number, key)| {
            let base = self.servers[number].base();
            format!("{{ api_base = \"{base}\", api_key_env = \"{key}\" }}")
        })
    }

    /// Writes the job with these endpoints.
    fn write(&self, endpoints: &[String], more: &str) {
        let endpoints = endpoints.join(", ");
        let teacher = format!("model = \"openai/teacher\"\nendpoints = [{endpoints}]\n{more}");
        JobFile::with_teacher(&teacher).write(&self.folder, EXAMPLES);
    }

    fn compile(&self, arguments: &[&str]) -> Ended {
        let arguments = [&COMPILE, arguments].concat();
        let keys = [(KEY, "first"), (OTHER_KEY, "first")];
        self.folder.start_with(&arguments, &keys).end()
    }

    fn counts(&self) -> [ServedCounts; 2] {
        [&self.servers[0], &self.servers[1]].map(LimitedServer::counts)
    }

    /// The address of a server, as in messages.
    fn address(&self, number: usize) -> String {
        self.servers[number].base()
    }

    /// Asserts that `run.json` has the number of answers of each server.
    #[track_caller]
    fn assert_counted(&self, counts: &[ServedCounts; 2]) {
        let manifest: serde_json::Value = serde_json::from_str(&self.folder.read("run/run.json")).unwrap();
        let counted = &manifest["tally"]["endpoints"]["teacher"];
        for (number, counts) in counts.iter().enumerate() {
            let answers = counted[self.address(number)].as_u64();
            assert_eq!(answers.unwrap_or_default(), counts.answers, "{counted}");
        }
    }

    /// Asserts what [`Self::assert_answered`] does, and that `run.json` has the number of answers of each server.
    #[track_caller]
    fn assert_complete(&self) -> [ServedCounts; 2] {
        let counts = self.assert_answered();
        self.assert_counted(&counts);
        counts
    }

    /// Asserts that every example has a trace, that nothing failed, and that the servers together gave each answer once.
    #[track_caller]
    fn assert_answered(&self) -> [ServedCounts; 2] {
        let counts = self.counts();
        let failures = lines(&self.folder.read("run/failures.jsonl"));
        assert!(failures.is_empty(), "{} failed: {}", failures.len(), failures[0]);
        assert_eq!(self.folder.traced("run"), EXAMPLES, "{counts:?}");
        let [first, second] = &counts;
        assert_eq!(first.answers + second.answers, CALLS, "{counts:?}");
        counts
    }
}

/// An outage after this number of answers, without an end.
fn dies_after(answers: u64, how: OutageKind) -> ServerBehaviour {
    ServerBehaviour {
        outage: Some(PlannedOutage {
            how,
            from_s: 0.0,
            after_answers: answers,
            for_s: 1e6,
        }),
        ..quick()
    }
}

#[test]
fn endpoint_that_dies_fails_no_example() {
    for how in [OutageKind::Refuse, OutageKind::Reset, OutageKind::Unavailable] {
        let scene = TwoEndpoints::new(dies_after(CALLS / 4, how), quick());
        let left_out = format!("endpoint {} is left out", scene.address(0));
        scene.compile(&[]).with(0).saying(&left_out);
        let [dead, other] = scene.assert_complete();
        assert!(dead.answers < CALLS / 2 && other.answers > CALLS / 2, "{dead:?}");
        assert!(dead.status(503) + dead.resets <= IN_FLIGHT + 10, "{dead:?}");
    }
}

#[test]
fn endpoint_that_is_back_takes_calls_again() {
    let outage = PlannedOutage {
        how: OutageKind::Refuse,
        from_s: 0.0,
        after_answers: CALLS / 10,
        for_s: 2.0,
    };
    let back = ServerBehaviour {
        outage: Some(outage),
        ..quick()
    };
    // The other server is slow, so that the run lasts longer than the outage.
    let slow = ServerBehaviour {
        rpm: Some(3000.0),
        ..quick()
    };
    let scene = TwoEndpoints::with(
        back,
        slow,
        ["", ", account = \"slow\""],
        "[account.slow]\nrpm = 3000",
    );
    let back = format!("endpoint {} is back", scene.address(0));
    scene.compile(&[]).with(0).saying(&back);
    let [back, slow] = scene.assert_complete();
    assert!(back.answers > CALLS / 10 + IN_FLIGHT, "{back:?}");
    assert_eq!(slow.rate_refused, 0, "{slow:?}");
}

#[test]
fn endpoint_whose_key_is_refused_is_left_out() {
    for after in [0, CALLS / 4] {
        let refused = ServerBehaviour {
            revoke_after: Some(after),
            ..quick()
        };
        let scene = TwoEndpoints::new(quick(), refused);
        let left_out = format!("endpoint {} is left out: key refused", scene.address(1));
        scene.compile(&[]).with(0).saying(&left_out).saying("401");
        let [_, refused] = scene.assert_complete();
        assert!(refused.status(401) <= IN_FLIGHT + 2, "{refused:?}");
    }
}

#[test]
fn declared_limits_of_both_endpoints_are_kept() {
    let limited = |rpm| ServerBehaviour {
        rpm: Some(rpm),
        burst_s: 3.0,
        ..quick()
    };
    let scene = TwoEndpoints::with(
        limited(6000.0),
        limited(3000.0),
        [", account = \"one\"", ", account = \"other\""],
        "[account.one]\nrpm = 6000\n[account.other]\nrpm = 3000",
    );
    scene.compile(&[]).with(0);
    for counts in scene.assert_complete() {
        assert_eq!(counts.rate_refused, 0, "{counts:?}");
        assert!(counts.answers > CALLS / 10, "{counts:?}");
    }
}

#[test]
fn limits_that_both_endpoints_enforce_fail_no_example() {
    let limited = || ServerBehaviour {
        rpm: Some(6000.0),
        ..quick()
    };
    let scene = TwoEndpoints::new(limited(), limited());
    scene.compile(&["--concurrency", "256"]).with(0);
    for counts in scene.assert_complete() {
        assert!(counts.answers > CALLS / 10, "{counts:?}");
    }
}

#[test]
fn two_refused_keys_end_compile_with_code_1_and_are_both_named() {
    let revoked = || ServerBehaviour {
        revoke_after: Some(CALLS / 4),
        ..quick()
    };
    let scene = TwoEndpoints::new(revoked(), revoked());
    let stopped = scene.compile(&[]).with(1);
    let first = stopped.stderr.contains(KEY) && stopped.stderr.contains(&scene.address(1));
    assert!(first, "{}", stopped.stderr);
    let [first, second] = scene.counts();
    let dead = first.status(401) + second.status(401);
    assert!(dead <= IN_FLIGHT + 4, "{dead} of {first:?} and {second:?}");
    scene.servers[1].change(quick());
    scene.compile(&[]).with(0);
    scene.assert_complete();
}

#[test]
fn daily_quota_beside_an_endpoint_with_a_refused_key_ends_with_code_3() {
    let daily = ServerBehaviour {
        quota: Some(CALLS / 4),
        quota_is_daily: true,
        ..quick()
    };
    let revoked = ServerBehaviour {
        revoke_after: Some(CALLS / 4),
        ..quick()
    };
    let scene = TwoEndpoints::new(revoked, daily);
    scene.compile(&[]).with(3).saying("requests per day");
}

#[test]
fn two_servers_that_never_answered_end_compile_with_code_4() {
    let scene = TwoEndpoints::new(quick(), quick());
    for server in &scene.servers {
        server.start_outage(OutageKind::Reset);
    }
    let both = format!("{} and {}", scene.address(0), scene.address(1));
    scene.compile(&[]).with(4).saying(&both);
    for server in &scene.servers {
        server.end_outage();
    }
    scene.compile(&[]).with(0);
    scene.assert_complete();
}

#[test]
fn first_endpoint_that_is_down_from_the_start_fails_no_example() {
    let scene = TwoEndpoints::new(quick(), quick());
    scene.servers[0].start_outage(OutageKind::Refuse);
    scene.compile(&[]).with(0);
    let [_, other] = scene.assert_complete();
    assert_eq!(other.answers, CALLS);
}

#[test]
fn unset_key_of_any_endpoint_is_reported_before_a_call() {
    let scene = TwoEndpoints::new(quick(), quick());
    let check = scene.folder.start_with(&["check", "job.toml"], &[(KEY, "first")]);
    check.end().with(0).saying(OTHER_KEY);
    let compile = scene.folder.start_with(&COMPILE, &[(KEY, "first")]).end();
    assert_ne!(compile.code, Some(0));
    compile.saying(OTHER_KEY);
    assert_eq!(scene.counts().map(|counts| counts.arrivals), [0, 0]);
}

#[test]
fn another_endpoint_finishes_a_run_that_one_left_half_done() {
    let quota = ServerBehaviour {
        quota: Some(CALLS / 2),
        ..quick()
    };
    let scene = TwoEndpoints::new(quota, quick());
    let [first, second] = scene.endpoints();
    let reference = reference(&scene);
    // The same LM with `api_base` in place of endpoints.
    let plain = first.trim_matches(['{', '}', ' ']).replace(", ", "\n");
    JobFile::with_teacher(&format!("model = \"openai/teacher\"\n{plain}")).write(&scene.folder, EXAMPLES);
    scene.compile(&[]).with(1);
    scene.write(&[second, first], "");
    scene.compile(&[]).with(0);
    scene.assert_answered();
    same(&scene.folder.result("run"), &reference);
}

/// The files of a run without faults on one endpoint.
fn reference(scene: &TwoEndpoints) -> BTreeMap<String, String> {
    let alone = LimitedServer::start(quick()).unwrap();
    let folder = Folder::new();
    let base = alone.base();
    let teacher = format!("model = \"openai/teacher\"\napi_base = \"{base}\"");
    JobFile::with_teacher(&teacher).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    // Both runs have the same trainset.
    assert_eq!(folder.read("train.jsonl"), scene.folder.read("train.jsonl"));
    folder.result("run")
}

#[test]
fn files_do_not_depend_on_endpoints_their_order_and_their_faults() {
    let half = ServerBehaviour {
        half: 0.05,
        ..quick()
    };
    let limited = ServerBehaviour {
        rpm: Some(9000.0),
        ..quick()
    };
    let slow = ServerBehaviour {
        latency_ms: 60.0,
        ..quick()
    };
    let cases = [
        (dies_after(CALLS / 3, OutageKind::Refuse), half.clone()),
        (limited, dies_after(CALLS / 5, OutageKind::Unavailable)),
        (half, slow),
    ];
    for (case, (first, second)) in cases.into_iter().enumerate() {
        let scene = TwoEndpoints::new(first, second);
        let [first, second] = scene.endpoints();
        if case % 2 == 1 {
            scene.write(&[second, first], "");
        }
        scene.compile(&[]).with(0);
        scene.assert_complete();
        same(&scene.folder.result("run"), &reference(&scene));
    }
}

#[test]
fn workers_of_a_cluster_leave_a_dead_endpoint_out() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = TwoEndpoints::new(quick(), dies_after(CALLS / 4, OutageKind::Refuse));
    let keys = [(KEY, "first"), (OTHER_KEY, "first")];
    let [first, second] = [0, 1].map(|number| scene.address(number));
    let file = scene.folder.keys_file(&[(KEY, &first), (OTHER_KEY, &second)]);
    let arguments = ["--concurrency", "16", "--keys", &file];
    let start = |_| cluster.worker_with(&arguments, &keys);
    let _workers: Vec<_> = (0..2).map(start).collect();
    // The coordinator has no keys.
    cluster.run_in(&scene.folder, &COMPILE).with(0);
    scene.assert_complete();
    same(&scene.folder.result("run"), &reference(&scene));
}
