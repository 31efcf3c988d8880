//! The account's reactions to requests, on server time alone.

use super::{LimitedAccount, ServerReaction};
use crate::behaviour::{RateHint, ServerBehaviour};
use crate::http::{HttpReply, HttpRequest};
use crate::server_clock::ServerClock;

/// An account whose buckets are full at time 0.
fn account(behaviour: ServerBehaviour) -> LimitedAccount {
    LimitedAccount::new(behaviour.clone(), ServerClock::start(behaviour.speed))
}

fn ask(account: &mut LimitedAccount, body: &str, key: &str, now: f64) -> Result<String, HttpReply> {
    let request = HttpRequest {
        path: "/v1/chat/completions".to_owned(),
        key: key.to_owned(),
        body: body.to_owned(),
    };
    match account.arrive(&request, false, now) {
        ServerReaction::Admitted(admitted) => Ok(admitted.headers),
        ServerReaction::Refused(reply) => Err(reply),
    }
}

/// The status of the response: 200 if the request is admitted.
fn status(account: &mut LimitedAccount, key: &str, now: f64) -> u16 {
    ask(account, "{}", key, now).map_or_else(|reply| reply.status, |_| 200)
}

#[test]
fn rpm_admits_the_burst_and_then_the_rate() {
    let mut account = account(ServerBehaviour {
        rpm: Some(60.0),
        burst_s: 3.0,
        ..ServerBehaviour::default()
    });
    let at = [100.0, 100.0, 100.0, 100.0, 100.5, 101.0, 101.0];
    let statuses = at.map(|now| status(&mut account, "k", now));
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200, 429]);
    assert_eq!(account.counts.served().rate_refused, 3);
}

#[test]
fn charge_refused_postpones_the_next_admission() {
    let charging = ServerBehaviour {
        rpm: Some(60.0),
        burst_s: 3.0,
        charge_refused: true,
        ..ServerBehaviour::default()
    };
    let mut account = account(charging);
    let at = [100.0, 100.0, 100.0, 100.0, 101.0, 103.0];
    let statuses = at.map(|now| status(&mut account, "k", now));
    assert_eq!(statuses, [200, 200, 200, 429, 429, 200]);
}

#[test]
fn tpm_counts_the_tokens_of_request_and_answer() {
    let mut account = account(ServerBehaviour {
        tpm: Some(6000.0),
        answer_tokens: [50, 50],
        ..ServerBehaviour::default()
    });
    let body = "x".repeat(200);
    assert!(ask(&mut account, &body, "k", 100.0).is_ok());
    assert!(ask(&mut account, &body, "k", 100.0).is_err());
    assert!(ask(&mut account, &body, "k", 101.0).is_ok());
}

#[test]
fn revoke_after_refuses_the_first_key_and_no_other() {
    let mut account = account(ServerBehaviour {
        revoke_after: Some(2),
        ..ServerBehaviour::default()
    });
    let keys = ["old", "old", "old", "new", "old", "new"];
    let statuses = keys.map(|key| status(&mut account, key, 0.0));
    assert_eq!(statuses, [200, 200, 401, 200, 401, 200]);
}

#[test]
fn quota_counts_answers_and_requests_in_flight() {
    let mut account = account(ServerBehaviour {
        quota: Some(2),
        ..ServerBehaviour::default()
    });
    assert_eq!(
        [0.0; 3].map(|now| status(&mut account, "k", now)),
        [200, 200, 429]
    );
    account.counts.dropped();
    assert_eq!([0.0; 2].map(|now| status(&mut account, "k", now)), [200, 429]);
    account.change(ServerBehaviour::default());
    assert_eq!(status(&mut account, "k", 0.0), 200);
}

#[test]
fn x_ratelimit_headers_are_in_real_time() {
    let mut account = account(ServerBehaviour {
        speed: 10.0,
        rpm: Some(60.0),
        burst_s: 5.0,
        hint: RateHint::XRatelimit,
        ..ServerBehaviour::default()
    });
    let expected = "x-ratelimit-limit-requests: 600\r\nx-ratelimit-remaining-requests: 4\r\n\
        x-ratelimit-reset-requests: 100ms\r\n";
    assert_eq!(ask(&mut account, "{}", "k", 100.0).unwrap(), expected);
}

#[test]
fn retry_after_is_a_whole_number_of_real_seconds() {
    let mut account = account(ServerBehaviour {
        rpm: Some(20.0),
        hint: RateHint::RetryAfter,
        ..ServerBehaviour::default()
    });
    assert!(ask(&mut account, "{}", "k", 100.0).is_ok());
    let refused = ask(&mut account, "{}", "k", 100.5).unwrap_err();
    assert_eq!(refused.headers, "retry-after: 3\r\n");
    assert!(refused.body.contains("try again in 2.500s"), "{}", refused.body);
}

#[test]
fn forbidden_refuses_only_the_marked_body() {
    let mut account = account(ServerBehaviour {
        forbidden: Some("secret".to_owned()),
        ..ServerBehaviour::default()
    });
    assert_eq!(ask(&mut account, "a secret", "k", 0.0).unwrap_err().status, 403);
    assert!(ask(&mut account, "no marker", "k", 0.0).is_ok());
}
