//! The client against a real server of the tests' own, which plays scripted answers.

use super::*;
use crate::adapter::{Adapter, FormatError, Message, ParseFailure};
use crate::lm::{RequestContext, Simulation};
use crate::metrics::Metrics;
use crate::signature::Signature;
use crate::value::Record;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "sk-very-secret-123456";
const GOOD: &str = r#"{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;

/// One scripted answer.
enum Play {
    /// A status, further header lines, a body.
    Say(u16, &'static str, String),
    /// A good answer cut off in its middle, and the connection closed.
    Half,
    /// Nothing, until the client goes away.
    Hang,
    /// A body of more bytes than any answer may have.
    Huge,
}

#[derive(Default)]
struct Seen {
    connections: u64,
    requests: Vec<String>,
}

/// Plays the script in order, then good answers; returns the address and what was seen.
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
            .unwrap_or_else(|| Play::Say(200, "", GOOD.to_owned()));
        match play {
            Play::Say(status, headers, body) => {
                let len = body.len();
                let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {len}\r\n\r\n{body}");
                stream.write_all(text.as_bytes()).await.unwrap();
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
                // The client hangs up when it has had enough.
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

#[derive(Debug)]
struct NoAdapter;

impl Adapter for NoAdapter {
    fn prelude(&self, _: &Signature, _: &[Record]) -> Result<Vec<Message>, FormatError> {
        Ok(Vec::new())
    }
    fn user(&self, _: &Signature, _: &Record) -> Result<String, FormatError> {
        Ok(String::new())
    }
    fn assistant(&self, _: &Signature, _: &Record) -> Result<String, FormatError> {
        Ok(String::new())
    }
    fn parse(&self, _: &Signature, _: &str) -> Result<Record, ParseFailure> {
        Ok(Record::new())
    }
}

fn settings(base: &str) -> LmSettings {
    LmSettings {
        name: "teacher".to_owned(),
        model: "openai/m".to_owned(),
        api_base: Some(base.to_owned()),
        api_key_env: None,
        account: None,
        temperature: None,
        max_tokens: None,
        extra: serde_json::Map::new(),
        timeout_secs: Some(20.0),
        num_retries: None,
        price: None,
        simulate: Simulation::default(),
    }
}

async fn ask(lm: &OpenAi) -> Result<LmResponse, LmError> {
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
    })
    .await
}

fn client(settings: &LmSettings) -> OpenAi {
    let mut lm = OpenAi::new(settings, Secret::new(KEY), settings.metrics(&Metrics::new())).unwrap();
    lm.backoff_base = Duration::ZERO;
    lm
}

/// Asks once; the answer, and how many requests the server saw.
async fn play(script: Vec<Play>) -> (Result<LmResponse, LmError>, usize, UsageTotals) {
    let (base, seen) = server(script).await;
    let lm = client(&settings(&base));
    let answer = ask(&lm).await;
    let requests = seen.lock().unwrap().requests.len();
    (answer, requests, lm.usage_totals())
}

fn say(status: u16, body: &str) -> Play {
    Play::Say(status, "", body.to_owned())
}

fn text(text: &str) -> LmResponse {
    LmResponse {
        text: text.to_owned(),
        usage: Usage {
            prompt_tokens: 7,
            completion_tokens: 2,
        },
    }
}

#[tokio::test]
async fn throttling_and_server_errors_are_asked_again_at_the_servers_time() {
    for status in [408, 429, 500, 502, 503, 504, 529] {
        let again = || Play::Say(status, "Retry-After: 0\r\n", "busy".to_owned());
        let (answer, requests, totals) = play(vec![again(), again(), again()]).await;
        assert_eq!(
            (answer.unwrap(), requests, totals.attempts),
            (text("hi"), 4, 4),
            "{status}"
        );
        let error = play(vec![again(), again(), again(), again()])
            .await
            .0
            .unwrap_err();
        assert_eq!(error.attempts(), 4);
        assert!(
            error.to_string().contains(&format!("HTTP {status}: busy")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn refusals_are_final() {
    for status in [301, 400, 401, 402, 403, 404, 409, 413, 422] {
        let (answer, requests, _) = play(vec![say(status, r#"{"detail":"no"}"#)]).await;
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, LmError::Refused { status: s, .. } if *s == status),
            "{error}"
        );
        assert_eq!(requests, 1);
    }
    for body in [
        r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#,
        r#"{"error":{"type":"insufficient_quota"}}"#,
    ] {
        let (answer, requests, _) = play(vec![say(429, body)]).await;
        assert!(matches!(answer, Err(LmError::Refused { status: 429, .. })) && requests == 1);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_asked_for_again() {
    let (answer, requests, _) = play(vec![Play::Half, Play::Half]).await;
    assert_eq!((answer.unwrap(), requests), (text("hi"), 3));
}

/// The clock runs ahead while nothing is on its way: the request arrives before its time is up, on a machine of any speed.
#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_left_after_the_timeout() {
    let (base, seen) = server(vec![Play::Hang, Play::Hang]).await;
    let lm = client(&LmSettings {
        timeout_secs: Some(20.0),
        num_retries: Some(1),
        ..settings(&base)
    });
    let error = ask(&lm).await.unwrap_err();
    assert!(
        matches!(&error, LmError::Unavailable { attempts: 2, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("timed out"), "{error}");
    assert_eq!(seen.lock().unwrap().requests.len(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let error = ask(&client(&settings("http://127.0.0.1:1/v1")))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, LmError::Unavailable { attempts: 4, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn empty_null_and_listed_contents_are_texts() {
    let cases = [
        (r#"{"choices":[]}"#, ""),
        (r#"{"choices":[{"message":{"content":null}}]}"#, ""),
        (
            r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":"many"}}"#,
            "",
        ),
        (
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"x"},{"text":"\u00e9"}]}}]}"#,
            "aé",
        ),
    ];
    for (body, wanted) in cases {
        let (answer, requests, _) = play(vec![say(200, body)]).await;
        assert_eq!(
            (answer.unwrap(), requests),
            (
                LmResponse {
                    text: wanted.to_owned(),
                    usage: Usage::default()
                },
                1
            )
        );
    }
}

#[tokio::test]
async fn what_is_no_completion_is_garbled_and_its_tokens_are_counted() {
    for body in [
        "<html>",
        "{}",
        "[]",
        "",
        r#"{"choices":[{"message":{"content":5}}]}"#,
    ] {
        let (answer, requests, _) = play(vec![say(200, body)]).await;
        assert!(
            matches!(answer, Err(LmError::Garbled { .. })) && requests == 1,
            "{body}"
        );
    }
    let (answer, _, totals) = play(vec![say(
        200,
        r#"{"choices":[{},{}],"usage":{"prompt_tokens":5}}"#,
    )])
    .await;
    assert!(matches!(answer, Err(LmError::Garbled { .. })));
    assert_eq!(totals.usage.prompt_tokens, 5);
}

#[tokio::test]
async fn an_error_in_a_200_counts_as_the_status_that_it_names() {
    let (answer, requests, _) = play(vec![say(200, r#"{"error":{"code":429,"message":"slow down"}}"#)]).await;
    assert_eq!((answer.unwrap(), requests), (text("hi"), 2));
    let (answer, ..) = play(vec![say(
        200,
        r#"{"error":{"code":404,"message":"no such model"}}"#,
    )])
    .await;
    assert!(matches!(answer, Err(LmError::Refused { status: 404, .. })));
}

#[tokio::test]
async fn a_huge_body_is_refused() {
    let (answer, ..) = play(vec![Play::Huge]).await;
    let error = answer.unwrap_err().to_string();
    assert!(error.contains("more than 33554432 bytes"), "{error}");
}

#[tokio::test]
async fn the_key_is_sent_and_never_said() {
    let echo = format!("{} {KEY} {}", "x".repeat(SHOWN_BEFORE_KEY), "y".repeat(5000));
    let (base, seen) = server(vec![say(401, &format!(r#"{{"error":{{"message":"{echo}"}}}}"#))]).await;
    let lm = client(&settings(&base));
    let error = ask(&lm).await.unwrap_err();
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
}

/// So that cutting the message off before taking the key out would leave half of the key.
const SHOWN_BEFORE_KEY: usize = 290;

#[tokio::test]
async fn connections_are_used_again() {
    let (base, seen) = server(vec![]).await;
    let lm = client(&settings(&base));
    for _ in 0..100 {
        ask(&lm).await.unwrap();
    }
    assert_eq!(seen.lock().unwrap().connections, 1);
    assert_eq!(
        lm.usage_totals().usage,
        Usage {
            prompt_tokens: 700,
            completion_tokens: 200
        }
    );
}

#[test]
fn connect_names_the_setting_that_cannot_work() {
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
