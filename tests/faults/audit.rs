//! Was anything paid for twice? Compares the requests at the LM server with the records that the store acknowledged to workers.

use crate::faults::log;
use crate::support::LmServer;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// What a Redis that is killed may have lost of what it acknowledged, in seconds: it syncs every second, and holds back what it writes
/// for two more while a sync is late.
pub(crate) const SYNC: f64 = 3.0;

/// How long after it is back a worker may write down what it did before it was away, in seconds, on a machine that does much else.
const RETURN: f64 = 15.0;

/// The longest that a task is in hand, in seconds.
const MOST_OF_A_TASK: f64 = 180.0;

/// A request as the LM server saw it.
#[derive(Clone, Debug, Deserialize)]
struct LoggedRequest {
    /// The digest under which its answer is recorded.
    question: Option<String>,
    /// The process.
    asker: String,
    /// In seconds since 1970.
    arrived: f64,
    /// How it was answered.
    status: u16,
}

/// A record that the store has acknowledged.
#[derive(Clone, Debug)]
struct Recorded {
    task: String,
    at: f64,
}

/// Something that explains why a question was asked again; times in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Redis was away, and may have lost what it had acknowledged since `kept`.
    StoreKilled { kept: f64, from: f64, to: f64 },
    /// A worker slept or was cut off: others took what it had in hand, which it could not know.
    Away { worker: String, from: f64, to: f64 },
}

/// Why a question was asked once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// The LM server had refused the first time.
    Refused,
    /// No answer was recorded: the worker that asked was killed.
    NotRecorded,
    /// Redis was killed right after it had acknowledged the record.
    RecordLost,
    /// Who asks had taken the task before the record was made, and was away or without the store when another took it.
    Overtaken,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Different questions.
    pub(crate) questions: usize,
    /// Requests.
    pub(crate) requests: usize,
    /// Recorded answers in the logs of the workers.
    pub(crate) recorded: usize,
    pub(crate) again: BTreeMap<Cause, usize>,
    /// Tasks of workers that slept or were cut off, which others took meanwhile.
    pub(crate) taken_over: usize,
    /// Questions that were asked again without a cause, described for people.
    pub(crate) wrong: Vec<String>,
    /// The sizes of the files that are the same as those of the undisturbed run.
    pub(crate) files: Vec<usize>,
    pub(crate) traces: usize,
    pub(crate) failures: usize,
    pub(crate) trainings: usize,
    /// Processes that ended with code 4, for a service was away when they started.
    pub(crate) came_too_early: usize,
}

/// Looks into everything that was asked.
pub(crate) fn audit(lm: &LmServer, logs: &[(String, String)], events: &[Event]) -> Audit {
    let mut recorded: HashMap<String, Vec<Recorded>> = HashMap::new();
    let lines = logs.iter().flat_map(|(_, text)| log::read(text));
    for line in lines.filter(|line| line.contains("answer recorded")) {
        let (task, at) = (line.field("task"), line.at);
        let records = recorded.entry(line.field("question")).or_default();
        records.push(Recorded { task, at });
    }
    let claims = claims(logs);
    let taken_over = events.iter().map(|event| taken_over_in(event, &claims)).sum();
    let mut asked: HashMap<String, Vec<LoggedRequest>> = HashMap::new();
    let mut wrong = Vec::new();
    let log: Vec<LoggedRequest> = serde_json::from_str(&lm.get("/_asked")).unwrap();
    let requests = log.len();
    for request in log {
        match &request.question {
            Some(question) => asked.entry(question.clone()).or_default().push(request),
            None => wrong.push(format!("not a question of ours: {request:?}")),
        }
    }
    // Else nothing here would mean anything.
    for question in recorded.keys().filter(|question| !asked.contains_key(*question)) {
        wrong.push(format!(
            "an answer was recorded to {question}, which was never asked"
        ));
    }
    let mut again = BTreeMap::new();
    for (question, asked) in &mut asked {
        asked.sort_by(|a, b| a.arrived.total_cmp(&b.arrived));
        let records = recorded.get(question).map_or(&[][..], Vec::as_slice);
        for pair in asked.windows(2) {
            let claimed = |task: &str| claims.get(&(pair[1].asker.clone(), task.to_owned()));
            match cause(&pair[0], &pair[1], records, claimed, events) {
                Some(cause) => *again.entry(cause).or_default() += 1,
                None => wrong.push(format!("{question} of {records:?} was asked by {:?}", pair[1])),
            }
        }
    }
    Audit {
        questions: asked.len(),
        requests,
        recorded: recorded.len(),
        again,
        taken_over,
        wrong,
        ..Audit::default()
    }
}

/// How many tasks others have claimed, while a worker was away, after it had.
pub(crate) fn taken_over(event: &Event, logs: &[(String, String)]) -> usize {
    taken_over_in(event, &claims(logs))
}

/// When each worker claimed each task.
type Claims = HashMap<(String, String), Vec<f64>>;

fn claims(logs: &[(String, String)]) -> Claims {
    let mut claims = Claims::new();
    for (worker, text) in logs {
        for line in log::read(text).filter(|line| line.contains("task claimed")) {
            let claim = (worker.clone(), line.field("task"));
            claims.entry(claim).or_default().push(line.at);
        }
    }
    claims
}

fn taken_over_in(event: &Event, claims: &Claims) -> usize {
    let Event::Away { worker, from, to } = event else {
        return 0;
    };
    let others = claims
        .iter()
        .filter(|((who, _), times)| who != worker && times.iter().any(|at| (from..to).contains(&at)));
    let theirs = others.filter(|((_, task), _)| {
        let before = claims.get(&(worker.clone(), task.clone()));
        before.is_some_and(|times| times.iter().any(|at| at < from))
    });
    theirs.count()
}

/// Why `later` was asked although `earlier` had been.
fn cause<'a>(
    earlier: &LoggedRequest,
    later: &LoggedRequest,
    records: &[Recorded],
    claimed: impl Fn(&str) -> Option<&'a Vec<f64>>,
    events: &[Event],
) -> Option<Cause> {
    let now = later.arrived;
    let known: Vec<&Recorded> = records.iter().filter(|record| record.at < now).collect();
    if known.is_empty() {
        let refused = earlier.status != 200 && earlier.asker == later.asker;
        return Some(if refused {
            Cause::Refused
        } else {
            Cause::NotRecorded
        });
    }
    let lost = |record: &Recorded| {
        events.iter().any(|event| match event {
            Event::StoreKilled { kept, to, .. } => (*kept..*to).contains(&record.at) && *to < now,
            Event::Away { .. } => false,
        })
    };
    let kept = known.iter().filter(|record| !lost(record));
    let Some(first) = kept.min_by(|a, b| a.at.total_cmp(&b.at)) else {
        return Some(Cause::RecordLost);
    };
    let claims = claimed(&first.task)?.iter();
    let claim = claims.copied().filter(|at| *at < now).max_by(f64::total_cmp)?;
    let overtaken = events.iter().any(|event| match event {
        // The claim that the store has lost is another worker's, or that of the worker that sent the call.
        Event::StoreKilled { from, to, .. } => {
            *from < first.at && claim < first.at && (*to..to + MOST_OF_A_TASK).contains(&now)
        }
        // It may have come back with a claim in hand that it had not yet written down.
        Event::Away { worker, from, to } => {
            *worker == later.asker && *from < first.at && claim < to + RETURN && *from < now
        }
    });
    overtaken.then_some(Cause::Overtaken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asker: &str, arrived: f64, status: u16) -> LoggedRequest {
        LoggedRequest {
            question: Some("q".to_owned()),
            asker: asker.to_owned(),
            arrived,
            status,
        }
    }

    fn recorded(at: f64) -> Vec<Recorded> {
        vec![Recorded {
            task: "t".to_owned(),
            at,
        }]
    }

    fn cause_of(
        earlier: &LoggedRequest,
        later: &LoggedRequest,
        records: &[Recorded],
        claim: f64,
        events: &[Event],
    ) -> Option<Cause> {
        let claims = vec![claim];
        cause(earlier, later, records, |_| Some(&claims), events)
    }

    #[test]
    fn audit_rejects_a_repeated_call_whose_answer_was_recorded() {
        let (first, again) = (asked("a", 10.0, 200), asked("b", 20.0, 200));
        assert_eq!(cause_of(&first, &again, &recorded(11.0), 19.0, &[]), None);
        let killed = Event::StoreKilled {
            kept: 11.5,
            from: 13.5,
            to: 14.0,
        };
        assert_eq!(
            cause_of(&first, &again, &recorded(11.0), 19.0, &[killed]),
            None,
            "synced long before"
        );
        let elsewhere = Event::Away {
            worker: "c".to_owned(),
            from: 9.0,
            to: 19.0,
        };
        assert_eq!(cause_of(&first, &again, &recorded(11.0), 8.0, &[elsewhere]), None);
    }

    #[test]
    fn audit_knows_the_causes_of_repeated_calls() {
        let (first, again) = (asked("a", 10.0, 200), asked("b", 20.0, 200));
        assert_eq!(cause_of(&first, &again, &[], 19.0, &[]), Some(Cause::NotRecorded));
        assert_eq!(
            cause_of(&first, &again, &recorded(21.0), 19.0, &[]),
            Some(Cause::NotRecorded)
        );
        let refused = asked("b", 19.5, 503);
        assert_eq!(cause_of(&refused, &again, &[], 19.0, &[]), Some(Cause::Refused));
        let killed = Event::StoreKilled {
            kept: 10.5,
            from: 12.5,
            to: 13.0,
        };
        assert_eq!(
            cause_of(&first, &again, &recorded(11.0), 19.0, &[killed]),
            Some(Cause::RecordLost)
        );
        let slept = Event::Away {
            worker: "b".to_owned(),
            from: 9.0,
            to: 19.0,
        };
        assert_eq!(
            cause_of(&first, &again, &recorded(11.0), 8.0, &[slept]),
            Some(Cause::Overtaken)
        );
    }
}
