//! `events.jsonl` records the events of a run across outages, kills and restarts.

use super::closed::quick;
use super::scene::KEY;
use super::{CALLS, EXAMPLES, Scene};
use crate::support::{Running, lines, until};
use bsft_limited_lm::{OutageKind, PlannedOutage, RateHint, ServerBehaviour};
use serde_json::Value;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

fn start(scene: &Scene) -> Running {
    scene.folder.start_with(&COMPILE, &[(KEY, "first")])
}

fn events(scene: &Scene) -> Vec<Value> {
    let text = std::fs::read_to_string(scene.folder.path("run/events.jsonl")).unwrap_or_default();
    // The process may have written half a line.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    lines(whole)
}

/// The names of the events, without those that may come at any time.
fn names(events: &[Value]) -> Vec<&str> {
    let names = events.iter().map(|event| event["event"].as_str().unwrap());
    names.filter(|name| !["rates", "limit"].contains(name)).collect()
}

fn find<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

fn until_recorded(scene: &Scene, name: &str) {
    until(&format!("{name} to be recorded"), || {
        (!find(&events(scene), name).is_empty()).then_some(())
    });
}

/// An outage in the middle of the run, which lasts until the test ends it.
fn away_until_end_outage() -> ServerBehaviour {
    ServerBehaviour {
        outage: Some(PlannedOutage {
            how: OutageKind::Reset,
            from_s: 0.0,
            after_answers: CALLS / 4,
            for_s: 1e6,
        }),
        ..quick()
    }
}

#[test]
fn events_record_an_outage_and_the_phases_of_a_run() {
    let scene = Scene::new(away_until_end_outage());
    let running = start(&scene);
    until_recorded(&scene, "lm_away");
    scene.server.end_outage();
    running.end().with(0);
    let events = events(&scene);
    let expected = [
        "started",
        "phase",
        "worker_joined",
        "lm_away",
        "lm_back",
        "phase",
        "phase",
        "phase",
        "stopped",
    ];
    let mut seen = names(&events);
    seen.retain(|name| !name.starts_with("training"));
    assert_eq!(seen, expected);
    let away = find(&events, "lm_away")[0];
    let (base, key) = (scene.server.base(), KEY);
    assert_eq!(
        (&away["address"], &away["key_variable"]),
        (&base.into(), &key.into())
    );
    assert!(away["error"].is_string(), "{away}");
    let stopped = find(&events, "stopped")[0];
    assert_eq!((&stopped["exit"], stopped.get("why")), (&0.into(), None));
    let last = find(&events, "rates").pop().unwrap().clone();
    assert_eq!(last["ended"], EXAMPLES, "{last}");
    // The answers as of the last heartbeat.
    let answers = last["lms"][0]["answers"].as_u64().unwrap();
    assert!((CALLS / 4..=CALLS).contains(&answers), "{last}");
    let times: Vec<f64> = events.iter().map(|event| event["at"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn events_of_a_killed_process_are_kept_and_the_next_one_appends() {
    let scene = Scene::new(away_until_end_outage());
    let mut running = start(&scene);
    until_recorded(&scene, "lm_away");
    running.kill();
    scene.server.end_outage();
    let path = scene.folder.path("run/events.jsonl");
    let before = std::fs::read_to_string(&path).unwrap();
    let whole = &before[..before.rfind('\n').unwrap() + 1];
    std::fs::write(&path, format!("{whole}{{\"at\":17")).unwrap();
    scene.compile(&[]).with(0);
    let events = events(&scene);
    assert!(scene.folder.read("run/events.jsonl").starts_with(whole));
    let starts: Vec<&Value> = find(&events, "started")
        .iter()
        .map(|event| &event["start"])
        .collect();
    assert_eq!(starts, [1, 2]);
    assert_eq!(find(&events, "stopped").len(), 1);
}

#[test]
fn events_record_a_learnt_limit_and_a_closed_account() {
    let scene = Scene::new(ServerBehaviour {
        rpm: Some(6_000.0),
        hint: RateHint::XRatelimit,
        revoke_after: Some(CALLS / 2),
        ..quick()
    });
    scene.compile_with_key("sk-secret", &[]).with(1);
    let before = events(&scene);
    assert_eq!(find(&before, "limit")[0]["per_min"], 6_000);
    let closed = find(&before, "account_closed")[0];
    assert_eq!(
        (&closed["cause"], &closed["status"]),
        (&"key".into(), &401.into())
    );
    let stopped = find(&before, "stopped")[0];
    assert_eq!(stopped["exit"], 1);
    assert!(stopped["why"].as_str().unwrap().contains(KEY), "{stopped}");
    let text = scene.folder.read("run/events.jsonl");
    assert!(!text.contains("sk-secret"), "the key is in the log");
}
