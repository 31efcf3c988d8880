//! How far a job is, from its events.

use super::super::TrainingProgress;
use super::super::http::Http;
use super::jobs::JOBS;
use super::wire_types::{Page, text};
use serde_json::Value as Json;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// The number of events that are read: the latest metrics and the latest message are among them.
const EVENTS: &str = "50";

/// The number of unknown statuses that are remembered, so that each is logged once. Further ones are not logged.
const MOST_WARNED: usize = 1000;

/// Progress from the job's events. Servers without events give none.
pub(super) async fn fetch(http: &Http, id: &str, status: &str) -> TrainingProgress {
    let path = [JOBS, &[id, "events"]].concat();
    let events = match http.get(&path, &[("limit", EVENTS)]).await {
        Ok(answer) => Page::read(answer).items,
        Err(_) => Vec::new(),
    };
    let mut progress = read(events);
    progress.message = match status {
        "pausing" | "paused" => Some(format!(
            "{status} at the server: resume it there, or cancel the run"
        )),
        _ => progress.message.map(|words| http.redact(&words)),
    };
    progress.status = (!status.is_empty()).then(|| http.redact(status));
    progress
}

fn read(mut events: Vec<Json>) -> TrainingProgress {
    // The order is not promised. Of one second's events, the one that the server names first is the latest.
    events.reverse();
    events.sort_by_key(|event| event.get("created_at").and_then(Json::as_i64));
    let mut progress = TrainingProgress::default();
    for event in &events {
        if let Some(data) = event.get("data").filter(|data| data.is_object()) {
            let whole = |key: &str| data.get(key).and_then(Json::as_u64);
            let number = |keys: &[&str]| keys.iter().find_map(|key| data.get(*key)?.as_f64());
            progress.step = whole("step").or(progress.step);
            progress.total_steps = whole("total_steps").or(progress.total_steps);
            progress.epoch = number(&["epoch"]).or(progress.epoch);
            progress.loss = number(&["train_loss", "training_loss", "loss"]).or(progress.loss);
        }
        progress.message = text(event, "message").or(progress.message);
    }
    if let (Some(step), Some(total)) = (progress.step, progress.total_steps)
        && total > 0
    {
        // Steps are far below what a double holds exactly.
        progress.percent = Some((100.0 * step as f64 / total as f64).min(100.0));
    }
    progress
}

/// Logs once that a server uses a status that is not in the protocol.
pub(super) fn warn_unknown_status(id: &str, word: &str) {
    static WARNED: Mutex<BTreeSet<(String, String)>> = Mutex::new(BTreeSet::new());
    let Ok(mut warned) = WARNED.lock() else { return };
    if warned.len() < MOST_WARNED && warned.insert((id.to_owned(), word.to_owned())) {
        tracing::warn!(training = id, status = word, "unknown status; treated as running");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn read_takes_the_latest_event_in_any_order() {
        let metrics = |at: i64, step: u64, loss: f64| {
            json!({"created_at": at, "type": "metrics", "message": format!("Step {step}/9"),
                   "data": {"step": step, "total_steps": 9, "train_loss": loss}})
        };
        let newest_first = vec![metrics(30, 3, 0.5), metrics(20, 2, 0.7), metrics(10, 1, 0.9)];
        let mut oldest_first = newest_first.clone();
        oldest_first.reverse();
        for events in [newest_first, oldest_first] {
            let progress = read(events);
            assert_eq!((progress.step, progress.total_steps), (Some(3), Some(9)));
            assert_eq!(progress.loss, Some(0.5));
            assert_eq!(progress.message.as_deref(), Some("Step 3/9"));
            assert_eq!(progress.percent, Some(100.0 * 3.0 / 9.0));
        }
    }

    #[test]
    fn read_takes_the_first_listed_event_of_a_second_as_the_latest() {
        let event = |words: &str| json!({"created_at": 7, "message": words, "data": null});
        let progress = read(vec![event("The job has started"), event("Files validated")]);
        assert_eq!(progress.message.as_deref(), Some("The job has started"));
    }

    #[test]
    fn read_of_malformed_events_is_no_progress() {
        assert_eq!(
            read(vec![json!({}), json!("x"), json!({"data": {"step": "three"}})]),
            TrainingProgress::default()
        );
    }
}
