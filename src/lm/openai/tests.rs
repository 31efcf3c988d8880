//! The client against a local server that plays scripted responses.

mod odd_answers;

use super::*;
use crate::lm::testing::{self, NoAdapter};
use crate::lm::{ClosedCause, RequestContext};
use crate::metrics::Metrics;
use crate::signature::Signature;
use crate::value::Record;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "sk-very-secret-123456";
const GOOD: &str = r#"{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;

/// One scripted response.
enum Play {
    /// A status, further header lines, a body.
    Respond(u16, &'static str, String),
    /// The same with a body that is not text.
    RespondBytes(u16, &'static str, Vec<u8>),
    /// Half of a good answer, then the connection is closed.
    Half,
    /// No response, until the client closes the connection.
    Hang,
    /// A body that exceeds the size limit.
    Huge,
}

#[derive(Default)]
struct Seen {
    connections: u64,
    requests: Vec<String>,
}

/// Plays the script in order, then good answers. Returns the address and the counters.
async fn server(script: Vec<Play>) -> (String, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let script = Arc::new(Mutex::new(script.into_iter()));
    let shared = seen.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            shared.lock().unwrap().connections += 1;
            tokio::spawn(serve(stream, script.clone(), shared.clone()));
        }
    });
    (format!("http://{address}/v1/"), seen)
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<std::vec::IntoIter<Play>>>, seen: Arc<Mutex<Seen>>) {
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().requests.push(request);
        let play = script
            .lock()
            .unwrap()
            .next()
            .unwrap_or_else(|| Play::Respond(200, "", GOOD.to_owned()));
        match play {
            Play::Respond(status, headers, body) => {
                let len = body.len();
                let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {len}\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.unwrap();
            }
            Play::RespondBytes(status, headers, body) => {
                let len = body.len();
                let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {len}\r\n\r\n");
                stream
                    .write_all(&[head.into_bytes(), body].concat())
                    .await
                    .unwrap();
            }
            Play::Half => {
                let text = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
                    GOOD.len(),
                    &GOOD[..40]
                );
                stream.write_all(text.as_bytes()).await.unwrap();
                return;
            }
            Play::Hang => drop(stream.read(&mut [0]).await),
            Play::Huge => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                    .await
                    .unwrap();
                let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
                // The client closes the connection when the size limit is exceeded.
                while stream.write_all(&chunk).await.is_ok() {}
                return;
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let (_, len) = head.split_once("content-length: ")?;
            if body.len() >= len.lines().next()?.parse().ok()? {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn settings(base: &str) -> LmSettings {
    LmSettings {
        timeout_secs: Some(20.0),
        ..testing::settings(base)
    }
}

async fn ask(lm: &OpenAi) -> Verdict {
    reply(lm).await.verdict
}

async fn reply(lm: &OpenAi) -> Reply {
    let signature = Signature {
        instructions: String::new(),
        inputs: vec![],
        outputs: vec![],
    };
    let context = RequestContext {
        signature: &signature,
        adapter: &NoAdapter,
        example: &Record::new(),
    };
    lm.complete(LmRequest {
        body: r#"{"model":"m","messages":[]}"#,
        context,
        memory: &MemoryShare::unlimited(),
    })
    .await
}

fn client(settings: &LmSettings) -> OpenAi {
    OpenAi::new(settings, Secret::new(KEY), settings.metrics(&Metrics::new())).unwrap()
}

/// Sends one request, and asserts that the client sent no more.
async fn play(play: Play) -> (Verdict, UsageTotals) {
    let (base, seen) = server(vec![play]).await;
    let lm = client(&settings(&base));
    let verdict = ask(&lm).await;
    assert_eq!(seen.lock().unwrap().requests.len(), 1);
    (verdict, lm.usage_totals())
}

fn answer(verdict: Verdict) -> LmResponse {
    match verdict {
        Verdict::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn failed(verdict: Verdict) -> LmError {
    match verdict {
        Verdict::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The message of a server that is away or late.
fn away(verdict: Verdict) -> String {
    match verdict {
        Verdict::Away { message, .. } | Verdict::Late { message, .. } => message,
        other => panic!("{other:?}"),
    }
}

fn respond(status: u16, body: &str) -> Play {
    Play::Respond(status, "", body.to_owned())
}

fn text(text: &str) -> LmResponse {
    LmResponse {
        text: text.to_owned(),
        usage: Usage::known(7, 2),
        ..LmResponse::default()
    }
}

#[tokio::test]
async fn rate_limits_and_server_errors_differ_in_verdict_and_keep_the_wait() {
    const SOON: &str = "Retry-After: 2\r\n";
    let wanted = Some(Duration::from_secs(2));
    for status in [429, 503, 529] {
        let verdict = play(Play::Respond(status, SOON, "busy".to_owned())).await.0;
        let Verdict::Throttled { message, wait } = verdict else {
            panic!("{status}: {verdict:?}")
        };
        assert!(message.contains(&format!("HTTP {status}: busy")), "{message}");
        assert_eq!(wait, wanted, "{status}");
    }
    for status in [500, 502] {
        let verdict = play(Play::Respond(status, SOON, "busy".to_owned())).await.0;
        let Verdict::Away { message, wait, .. } = verdict else {
            panic!("{status}: {verdict:?}")
        };
        assert!(message.contains(&format!("HTTP {status}: busy")), "{message}");
        assert_eq!(wait, wanted, "{status}");
    }
    let verdict = play(respond(503, "busy")).await.0;
    let is_away = matches!(
        verdict,
        Verdict::Away {
            wait: None,
            is_answer_lost: false,
            ..
        }
    );
    assert!(is_away, "{verdict:?}");
}

#[tokio::test]
async fn refusals_concern_the_request_or_the_account() {
    for status in [301, 400, 409, 413, 422] {
        let error = failed(play(respond(status, r#"{"detail":"no"}"#)).await.0);
        assert!(
            matches!(&error, LmError::Refused { status: s, .. } if *s == status),
            "{error}"
        );
    }
    let pay = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
    for (status, body, cause) in [
        (401, r#"{"detail":"no"}"#, ClosedCause::Key),
        (402, "", ClosedCause::Quota),
        (403, "", ClosedCause::Key),
        (404, "", ClosedCause::Model),
        (429, pay, ClosedCause::Quota),
        (
            429,
            r#"{"error":{"type":"insufficient_quota"}}"#,
            ClosedCause::Quota,
        ),
    ] {
        let verdict = play(respond(status, body)).await.0;
        let Verdict::Closed(account) = verdict else {
            panic!("{status}: {verdict:?}")
        };
        assert_eq!((account.status, account.cause), (status, cause));
    }
}

#[tokio::test]
async fn hints_are_read_from_the_headers_of_answers_and_refusals() {
    const HEADERS: &str = "x-ratelimit-limit-requests: 600\r\nx-ratelimit-remaining-requests: 7\r\n";
    for status in [200, 429] {
        let (base, _) = server(vec![Play::Respond(status, HEADERS, GOOD.to_owned())]).await;
        let hints = reply(&client(&settings(&base))).await.hints;
        let requests = hints.requests.unwrap();
        assert_eq!((requests.limit, requests.remaining), (600, 7));
        assert_eq!((requests.reset, hints.tokens), (None, None));
    }
}

#[tokio::test]
async fn server_whose_answer_is_cut_off_is_away() {
    let verdict = play(Play::Half).await.0;
    assert!(
        matches!(
            verdict,
            Verdict::Away {
                is_answer_lost: true,
                ..
            }
        ),
        "{verdict:?}"
    );
}

/// The paused clock advances only while no I/O is pending, so the request arrives before its timeout on a machine of any speed.
#[tokio::test(start_paused = true)]
async fn server_that_hangs_is_late_after_the_timeout() {
    let (base, seen) = server(vec![Play::Hang]).await;
    let verdict = ask(&client(&settings(&base))).await;
    assert!(
        matches!(&verdict, Verdict::Late { message, .. } if message.contains("timed out")),
        "{verdict:?}"
    );
    assert_eq!(seen.lock().unwrap().requests.len(), 1);
}

#[tokio::test]
async fn server_that_refuses_connections_is_away() {
    let cause = away(ask(&client(&settings("http://127.0.0.1:1/v1"))).await);
    assert!(cause.contains("refused"), "{cause}");
}

#[tokio::test]
async fn empty_and_listed_contents_are_read_as_text() {
    let cases = [
        (r#"{"choices":[{"message":{"content":""}}]}"#, ""),
        (
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"x"},{"text":"\u00e9"}]}}]}"#,
            "aé",
        ),
    ];
    for (body, wanted) in cases {
        let wanted = LmResponse {
            text: wanted.to_owned(),
            usage: Usage::UNKNOWN,
            ..LmResponse::default()
        };
        assert_eq!(answer(play(respond(200, body)).await.0), wanted);
    }
}

#[tokio::test]
async fn body_without_a_completion_is_garbled_and_its_tokens_count() {
    for (body, words) in [
        (
            "<html><title>Log in</title>",
            "a page of HTML: <html><title>Log in",
        ),
        ("data: {\"choices\":[]}\n\n", "a stream of events"),
        ("{}", "no `choices`: {}"),
        ("[]", "no `choices`"),
        ("", "the body is empty"),
        (r#"{"code":0,"msg":"ok"}"#, r#"no `choices`: {"code":0"#),
        (
            r#"{"choices":[{"message":{"content":5}}]}"#,
            "`content` is neither text nor",
        ),
    ] {
        let error = failed(play(respond(200, body)).await.0);
        assert!(matches!(error, LmError::Garbled { .. }), "{body}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let body = r#"{"choices":[{},{}],"usage":{"prompt_tokens":5}}"#;
    let (verdict, totals) = play(respond(200, body)).await;
    assert!(matches!(failed(verdict), LmError::Garbled { .. }));
    assert_eq!(totals.usage.prompt_tokens, 5);
}

#[tokio::test]
async fn tokens_of_an_error_in_a_successful_response_are_counted() {
    let body = r#"{"choices":[{"error":{"message":"cut","code":502}}],"usage":{"prompt_tokens":5,"completion_tokens":3}}"#;
    let (verdict, totals) = play(respond(200, body)).await;
    assert!(matches!(verdict, Verdict::Away { .. }), "{verdict:?}");
    assert_eq!(totals.usage, Usage::known(5, 3));
}

#[tokio::test]
async fn body_beyond_the_size_limit_is_refused() {
    let error = failed(play(Play::Huge).await.0).to_string();
    assert!(error.contains("more than 33554432 bytes"), "{error}");
}

#[tokio::test]
async fn api_key_is_sent_and_not_in_errors_or_debug_output() {
    let echo = format!("{} {KEY} {}", "x".repeat(SHOWN_BEFORE_KEY), "y".repeat(5000));
    let (base, seen) = server(vec![respond(
        400,
        &format!(r#"{{"error":{{"message":"{echo}"}}}}"#),
    )])
    .await;
    let lm = client(&settings(&base));
    let error = failed(ask(&lm).await);
    for shown in [format!("{error} {error:?}"), format!("{lm:?}")] {
        assert!(!shown.contains(&KEY[..6]), "{shown}");
    }
    assert!(error.to_string().chars().count() < 500, "{error}");
    let request = seen.lock().unwrap().requests[0].clone();
    assert!(
        request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains(&format!("authorization: Bearer {KEY}\r\n")),
        "{request}"
    );
    assert!(
        request.contains("content-type: application/json\r\n"),
        "{request}"
    );
    assert!(request.contains("accept-encoding: identity\r\n"), "{request}");
}

/// The number of characters before the key. If the message were shortened before the key is removed, half of the key would remain.
const SHOWN_BEFORE_KEY: usize = 290;

#[tokio::test]
async fn connections_are_reused() {
    let (base, seen) = server(vec![]).await;
    let lm = client(&settings(&base));
    for _ in 0..100 {
        assert_eq!(answer(ask(&lm).await), text("hi"));
    }
    assert_eq!(seen.lock().unwrap().connections, 1);
    assert_eq!(lm.usage_totals().usage, Usage::known(700, 200));
}

#[test]
fn connect_names_the_setting_that_is_wrong() {
    let connect = |settings: &LmSettings| {
        crate::lm::connect(settings, 0, &Metrics::new())
            .err()
            .map(|error| error.to_string())
    };
    let base = settings("http://h/v1");
    let cases = [
        (
            LmSettings {
                api_base: Some("http://u:pw@h/v1".into()),
                ..base.clone()
            },
            "credentials",
        ),
        (
            LmSettings {
                api_base: Some("h:80".into()),
                ..base.clone()
            },
            "api_base",
        ),
        (
            LmSettings {
                timeout_secs: Some(-1.0),
                ..base.clone()
            },
            "-1",
        ),
        (
            LmSettings {
                model: "gpt-4".into(),
                ..base.clone()
            },
            "\"openai/gpt-4\"",
        ),
        (
            LmSettings {
                api_base: None,
                api_key_env: Some("BSFT_NO_SUCH".into()),
                ..base.clone()
            },
            "BSFT_NO_SUCH",
        ),
        (
            LmSettings {
                api_key_env: Some("BSFT_NO_SUCH".into()),
                ..base.clone()
            },
            "BSFT_NO_SUCH",
        ),
    ];
    for (settings, wanted) in cases {
        let error = connect(&settings).unwrap();
        assert!(
            error.contains(wanted) && error.contains("teacher") && !error.contains("pw"),
            "{error}"
        );
    }
    assert_eq!(connect(&base), None, "a private server needs no key");
}
