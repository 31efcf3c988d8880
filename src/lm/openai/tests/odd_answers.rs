//! Answers that are wrapped, wrong, cut or empty in the ways in which real servers send them.

use super::*;
use crate::lm::{InsteadOfText, MissingPart};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::Write as _;

/// [`GOOD`], compressed by Brotli.
const GOOD_IN_BROTLI: &str = "1b6e00408cc374a33d7f84706d561141de52bf10152d082ac1fc207debf475b174ca816340495b6bcb4f67b9d0bdc1ce838162fab8\
a125a2a490417f369e1763aacfd7ef387bc5ebb31c973a37055ca500";

fn bytes(headers: &'static str, body: Vec<u8>) -> Play {
    Play::RespondBytes(200, headers, body)
}

fn in_gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn in_zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn in_brotli() -> Vec<u8> {
    let digits = GOOD_IN_BROTLI.as_bytes().chunks(2);
    let digits = digits.map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A completion whose only choice is this JSON.
fn choice(choice: &str) -> Play {
    respond(
        200,
        &format!(r#"{{"choices":[{choice}],"usage":{{"prompt_tokens":7,"completion_tokens":2}}}}"#),
    )
}

#[tokio::test]
async fn good_answer_is_read_in_every_wrapping() {
    let utf_16 = |mark: &[u8]| {
        let units = GOOD.encode_utf16().flat_map(u16::to_le_bytes);
        mark.iter().copied().chain(units).collect::<Vec<u8>>()
    };
    for (what, played) in [
        ("201", respond(201, GOOD)),
        ("202", respond(202, GOOD)),
        ("gzip", bytes("content-encoding: gzip\r\n", in_gzip(GOOD))),
        ("gzip unnamed", bytes("", in_gzip(GOOD))),
        ("deflate", bytes("content-encoding: deflate\r\n", in_zlib(GOOD))),
        ("brotli", bytes("content-encoding: br\r\n", in_brotli())),
        (
            "plain, named gzip",
            bytes("content-encoding: gzip\r\n", GOOD.into()),
        ),
        ("mark", bytes("", [b"\xef\xbb\xbf", GOOD.as_bytes()].concat())),
        ("UTF-16", bytes("", utf_16(b"\xff\xfe"))),
        (
            "UTF-16 by charset",
            bytes("content-type: application/json; charset=utf-16\r\n", utf_16(b"")),
        ),
        ("comments", respond(200, &format!(": WAIT\n\n: WAIT\n\n{GOOD}"))),
        ("NaN", respond(200, &GOOD.replacen('{', "{\"x\":NaN,", 1))),
    ] {
        assert_eq!(answer(play(played).await.0), text("hi"), "{what}");
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_becomes_u_fffd() {
    for half in [r"\ud83d", r"\udc4d"] {
        let (verdict, totals) = play(respond(200, &GOOD.replace("hi", &format!("{half} x")))).await;
        assert_eq!(answer(verdict), text("\u{fffd} x"));
        assert_eq!(totals.usage, Usage::known(7, 2));
    }
    let whole = GOOD.replace("hi", r"\ud83d\ude00");
    assert_eq!(answer(play(respond(200, &whole)).await.0), text("😀"));
}

#[tokio::test]
async fn body_that_cannot_be_decoded_names_its_encoding() {
    let cut = in_gzip(GOOD)[..30].to_vec();
    for (headers, body, words) in [
        ("content-encoding: gzip\r\n", cut, "content-encoding `gzip`"),
        (
            "content-encoding: zstd\r\n",
            b"(\xb5/\xfd".to_vec(),
            "content-encoding `zstd`",
        ),
        (
            "",
            b"{\"choices\":[{\"message\":{\"content\":\"caf\xe9\"}}]}".to_vec(),
            "neither UTF-8 nor",
        ),
    ] {
        let error = failed(play(bytes(headers, body)).await.0);
        assert!(matches!(error, LmError::Garbled { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let bomb = in_gzip(&" ".repeat(LARGEST_ANSWER + 1));
    let error = failed(play(bytes("content-encoding: gzip\r\n", bomb)).await.0);
    assert!(error.to_string().contains("when decompressed"), "{error}");
}

#[tokio::test]
async fn compressed_error_body_is_read() {
    let body = in_gzip(r#"{"error":{"message":"too long"}}"#);
    let error = failed(
        play(Play::RespondBytes(400, "content-encoding: gzip\r\n", body))
            .await
            .0,
    );
    assert!(error.to_string().contains("HTTP 400: "), "{error}");
    assert!(error.to_string().contains("too long"), "{error}");
}

/// The name of the verdict and its status, and the words of the server.
fn judged(verdict: Verdict) -> (&'static str, Option<u16>, String) {
    match verdict {
        Verdict::Throttled { message, .. } => ("throttled", None, message),
        Verdict::Away { status, message, .. } => ("away", status, message),
        Verdict::Closed(account) => ("closed", Some(account.status), account.message),
        Verdict::Failed(LmError::Refused { status, message, .. }) => ("refused", Some(status), message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn error_in_a_2xx_is_judged_by_its_code_kind_or_words() {
    for (body, verdict, status) in [
        (r#"{"error":{"code":429,"message":"no"}}"#, "throttled", None),
        (
            r#"{"error":{"code":"429","message":"no","type":"rate_limit"}}"#,
            "throttled",
            None,
        ),
        (r#"{"error":{"code":404,"message":"no"}}"#, "closed", Some(404)),
        (
            r#"{"choices":[],"error":{"code":502,"message":"no"}}"#,
            "away",
            Some(502),
        ),
        (
            r#"{"choices":null,"error":{"code":502,"message":"no"}}"#,
            "away",
            Some(502),
        ),
        (
            r#"{"object":"error","code":503,"message":"no","type":"ServiceUnavailable"}"#,
            "away",
            Some(503),
        ),
        (
            r#"{"object":"error","code":404,"message":"no","type":"NotFoundError"}"#,
            "closed",
            Some(404),
        ),
        (
            r#"{"choices":[{"finish_reason":"error","error":{"code":502,"message":"no"},"message":{"content":""}}]}"#,
            "away",
            Some(502),
        ),
        (
            r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#,
            "throttled",
            None,
        ),
        (
            r#"{"error":{"type":"overloaded_error","message":"no"}}"#,
            "away",
            Some(503),
        ),
        (r#"{"detail":"no: overloaded"}"#, "away", Some(503)),
        (r#"{"error":"no: model is loading"}"#, "away", Some(503)),
        (
            r#"{"error":{"code":"context_length_exceeded","message":"no"}}"#,
            "refused",
            Some(200),
        ),
        (r#"{"error":{"code":1305,"message":"no"}}"#, "refused", Some(200)),
    ] {
        let (found, found_status, message) = judged(play(respond(200, body)).await.0);
        assert_eq!((found, found_status), (verdict, status), "{body}");
        assert!(message.contains("no"), "{message}");
        assert!(
            !message.contains("error"),
            "the body in place of its words: {message}"
        );
    }
    let (found, status, _) = judged(play(respond(201, r#"{"error":{"code":503}}"#)).await.0);
    assert_eq!((found, status), ("away", Some(503)));
}

#[tokio::test]
async fn empty_error_beside_an_answer_is_none() {
    for error in ["null", "{}", "\"\"", "false"] {
        let body = GOOD.replacen('{', &format!("{{\"error\":{error},"), 1);
        assert_eq!(answer(play(respond(200, &body)).await.0), text("hi"), "{error}");
    }
    let beside = GOOD.replacen('{', r#"{"error":{"code":502,"message":"no"},"#, 1);
    assert_eq!(answer(play(respond(200, &beside)).await.0), text("hi"));
}

#[tokio::test]
async fn answer_without_text_has_what_came_in_its_place() {
    let missing = |part| InsteadOfText {
        missing: Some(part),
        ..InsteadOfText::default()
    };
    let reasoning = |text: &str| InsteadOfText {
        reasoning: Some(text.to_owned()),
        reasoning_chars: text.chars().count() as u64,
        ..InsteadOfText::default()
    };
    for (body, wanted) in [
        (
            r#"{"message":{"content":null,"refusal":"I cannot."}}"#,
            InsteadOfText {
                refusal: Some("I cannot.".to_owned()),
                ..InsteadOfText::default()
            },
        ),
        (
            r#"{"message":{"content":null,"reasoning_content":"hmé"}}"#,
            reasoning("hmé"),
        ),
        (
            r#"{"message":{"content":"\n","reasoning":"hm","refusal":null}}"#,
            reasoning("hm"),
        ),
        (
            r#"{"message":{"content":null,"tool_calls":[{"type":"function","function":{"name":"find","arguments":"{}"}}]}}"#,
            InsteadOfText {
                tool_calls: vec!["find".to_owned()],
                ..InsteadOfText::default()
            },
        ),
        (
            r#"{"message":{"function_call":{"name":"find"}}}"#,
            InsteadOfText {
                tool_calls: vec!["find".to_owned()],
                ..InsteadOfText::default()
            },
        ),
        (r#"{"message":null}"#, missing(MissingPart::Message)),
        (r#"{"text":"hi"}"#, missing(MissingPart::ChatMessage)),
        (r#"{"message":{"content":null}}"#, missing(MissingPart::Content)),
        (r#"{"message":{}}"#, missing(MissingPart::Content)),
    ] {
        let answer = answer(play(choice(body)).await.0);
        assert_eq!(answer.instead.as_deref(), Some(&wanted), "{body}");
        assert_eq!(answer.usage, Usage::known(7, 2));
    }
    let none = answer(play(respond(200, r#"{"choices":[]}"#)).await.0);
    assert_eq!(none.instead.as_deref(), Some(&missing(MissingPart::Choices)));
}

#[tokio::test]
async fn reasoning_is_kept_up_to_a_bound_and_without_the_key() {
    let body = format!(
        r#"{{"message":{{"content":"","reasoning_content":"{KEY} {}"}},"finish_reason":"length"}}"#,
        "é".repeat(20_000)
    );
    let answer = answer(play(choice(&body)).await.0);
    assert_eq!(answer.cut(), Some("length"));
    let instead = answer.instead.expect("reasoning");
    let reasoning = instead.reasoning.expect("reasoning");
    assert!(reasoning.starts_with("[key] é"), "{reasoning}");
    assert!(reasoning.chars().count() <= 4_000);
    assert_eq!(instead.reasoning_chars as usize, KEY.len() + 1 + 20_000);
}

#[tokio::test]
async fn finish_reason_is_kept_unless_it_is_stop() {
    for (reason, wanted) in [
        ("\"stop\"", None),
        ("null", None),
        ("7", None),
        ("\"length\"", Some("length")),
        ("\"content_filter\"", Some("content_filter")),
        ("\"tool_calls\"", Some("tool_calls")),
    ] {
        let body = format!(r#"{{"message":{{"content":"hi"}},"finish_reason":{reason}}}"#);
        let answer = answer(play(choice(&body)).await.0);
        assert_eq!(
            (answer.text.as_str(), answer.finish_reason.as_deref()),
            ("hi", wanted)
        );
    }
}

#[tokio::test]
async fn usage_that_is_missing_or_odd_is_unknown() {
    for (usage, wanted) in [
        (r#""usage":null"#, Usage::UNKNOWN),
        (
            r#""usage":{"prompt_tokens":null,"completion_tokens":null}"#,
            Usage::UNKNOWN,
        ),
        (
            r#""usage":{"prompt_tokens":"7","completion_tokens":2.0}"#,
            Usage::known(7, 2),
        ),
        (
            r#""usage":{"prompt_tokens":-1,"completion_tokens":2}"#,
            Usage {
                completion_tokens: 2,
                ..Usage::UNKNOWN
            },
        ),
        (
            r#""usage":{"prompt_tokens":7,"completion_tokens":18446744073709551615}"#,
            Usage {
                prompt_tokens: 7,
                ..Usage::UNKNOWN
            },
        ),
    ] {
        let body = format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],{usage}}}"#);
        let (verdict, totals) = play(respond(200, &body)).await;
        assert_eq!(answer(verdict).usage, wanted, "{usage}");
        assert_eq!(totals.usage.tokens(), wanted.tokens(), "{usage}");
    }
}
