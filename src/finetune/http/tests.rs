//! The client against a local server that sends scripted answers.

use super::connect::access;
use super::*;
use crate::finetune::ServiceSpec;
use crate::key_ring::{GrantedKey, KeyRing};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const KEY: &str = "sk-very-secret-123456";

/// What the server does with one request, once it has read it.
enum ScriptedReply {
    /// A status, further header lines, a body.
    Say(u16, &'static str, &'static str),
    /// Closes the connection without an answer.
    Close,
    /// Half of an answer, then it closes the connection.
    Half,
}

type SeenRequests = Arc<Mutex<Vec<String>>>;

/// Plays the script, one answer a connection; gives the address and the requests.
async fn server(script: Vec<ScriptedReply>) -> (String, SeenRequests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/", listener.local_addr().unwrap());
    let seen = SeenRequests::default();
    let requests = seen.clone();
    tokio::spawn(async move {
        for play in script {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read_request(&mut stream).await;
            requests.lock().unwrap().push(request);
            let answer = match play {
                ScriptedReply::Say(status, headers, body) => format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
                    body.len()
                ),
                ScriptedReply::Close => String::new(),
                ScriptedReply::Half => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

/// Head and body of a request.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        assert_ne!(
            stream.read_buf(&mut bytes).await.unwrap(),
            0,
            "half a request: {text}"
        );
    }
}

fn granted(header: Option<&str>) -> Access {
    let header = header.map(str::to_owned);
    Access {
        key: Secret::new(KEY).map(|secret| GrantedKey { secret, header }),
        ..Access::default()
    }
}

fn client(address: &str) -> Http {
    let http = Http::new(address, granted(None)).unwrap();
    Http {
        backoff_base: Duration::ZERO,
        ..http
    }
}

fn sent(seen: &SeenRequests) -> Vec<String> {
    seen.lock().unwrap().clone()
}

#[tokio::test]
async fn get_is_retried_after_errors_of_the_server() {
    let trouble = vec![
        ScriptedReply::Say(500, "", "down"),
        ScriptedReply::Say(429, "Retry-After: 0\r\n", "slow down"),
        ScriptedReply::Close,
        ScriptedReply::Say(200, "", r#"{"id":"x"}"#),
    ];
    let (address, seen) = server(trouble).await;
    let answer = client(&address).get(&["models"], &[]).await.unwrap();
    assert_eq!(answer["id"], "x");
    assert_eq!(sent(&seen).len(), 4);
}

#[tokio::test]
async fn get_fails_after_the_maximum_number_of_tries() {
    let (address, seen) = server((0..9).map(|_| ScriptedReply::Say(503, "", "down")).collect()).await;
    let error = client(&address).get(&["models"], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::Passing(_)), "{error:?}");
    assert!(
        error.to_string().ends_with("/v1/models: HTTP 503: down"),
        "{error}"
    );
    assert_eq!(sent(&seen).len(), TRIES as usize);
}

#[tokio::test]
async fn retry_after_beyond_the_longest_wait_is_not_waited_for() {
    let (address, seen) = server(vec![ScriptedReply::Say(429, "Retry-After: 31\r\n", "")]).await;
    let error = client(&address).get(&["models"], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::Passing(_)), "{error:?}");
    assert_eq!(sent(&seen).len(), 1);
}

#[tokio::test]
async fn post_that_may_have_been_carried_out_is_not_repeated() {
    for play in [
        ScriptedReply::Close,
        ScriptedReply::Half,
        ScriptedReply::Say(500, "", "oops"),
        ScriptedReply::Say(504, "", "gateway"),
        ScriptedReply::Say(200, "", "<html>"),
    ] {
        let (address, seen) = server(vec![play]).await;
        let error = client(&address).post(&["jobs"], None).await.unwrap_err();
        assert!(matches!(error, CallError::Unclear(_)), "{error:?}");
        assert_eq!(sent(&seen).len(), 1);
    }
}

#[tokio::test]
async fn throttled_post_is_repeated() {
    let throttled = vec![
        ScriptedReply::Say(429, "Retry-After: 0\r\n", ""),
        ScriptedReply::Say(200, "", "{}"),
    ];
    let (address, seen) = server(throttled).await;
    let body = serde_json::json!({"model": "m"});
    client(&address).post(&["jobs"], Some(&body)).await.unwrap();
    let sent = sent(&seen);
    assert_eq!(sent.len(), 2);
    assert!(sent[1].ends_with(r#"{"model":"m"}"#), "{}", sent[1]);
}

#[tokio::test]
async fn post_to_a_closed_port_is_a_transient_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let error = client(&address).post(&["jobs"], None).await.unwrap_err();
    assert!(matches!(error, CallError::Passing(_)), "{error:?}");
}

#[tokio::test]
async fn refusal_has_the_url_and_the_server_message_without_the_key() {
    let body = r#"{"error":{"message":"key sk-very-secret-123456 is bad","code":"invalid_api_key"}}"#;
    let (address, _) = server(vec![ScriptedReply::Say(401, "", body)]).await;
    let error = client(&address)
        .get(&["files"], &[("after", "hidden")])
        .await
        .unwrap_err();
    let expected = format!("GET {address}files: HTTP 401: key [key] is bad");
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.status(), Some(401));
    assert!(!format!("{error:?}").contains(KEY));
}

#[tokio::test]
async fn insufficient_quota_is_not_retried() {
    let body = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
    let (address, _) = server(vec![ScriptedReply::Say(429, "", body)]).await;
    let error = client(&address).post(&["jobs"], None).await.unwrap_err();
    assert!(matches!(error, CallError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn post_does_not_follow_a_redirect() {
    let (address, _) = server(vec![ScriptedReply::Say(
        307,
        "Location: http://elsewhere/\r\n",
        "",
    )])
    .await;
    let error = client(&address).post(&["jobs"], None).await.unwrap_err();
    assert!(error.to_string().contains("api_base"), "{error}");
    let CallError::Refused(refusal) = error else {
        panic!("{error:?}")
    };
    assert_eq!(refusal.location.as_deref(), Some("http://elsewhere/"));
}

#[tokio::test]
async fn url_encodes_path_and_query_and_keeps_the_query_of_the_address() {
    let (address, seen) = server(vec![ScriptedReply::Say(200, "", "{}")]).await;
    client(&format!("{address}?api-version=1"))
        .get(&["jobs", "a/../b"], &[("metadata[job_key]", "k&1")])
        .await
        .unwrap();
    let request = &sent(&seen)[0];
    let line = "GET /v1/jobs/a%2F..%2Fb?api-version=1&metadata%5Bjob_key%5D=k%261 HTTP/1.1\r\n";
    assert!(request.starts_with(line), "{request}");
}

#[tokio::test]
async fn key_is_sent_in_the_header_of_the_service() {
    let (address, seen) = server(vec![
        ScriptedReply::Say(200, "", ""),
        ScriptedReply::Say(200, "", ""),
    ])
    .await;
    let azure = Http::new(&address, granted(Some("api-key"))).unwrap();
    assert_eq!(azure.delete(&["files", "f"]).await.unwrap(), Json::Null);
    client(&address).delete(&["files", "f"]).await.unwrap();
    let sent = sent(&seen);
    assert!(sent[0].contains(&format!("api-key: {KEY}\r\n")), "{}", sent[0]);
    assert!(!sent[0].contains("uthorization"), "{}", sent[0]);
    assert!(
        sent[1].contains(&format!("authorization: Bearer {KEY}\r\n")),
        "{}",
        sent[1]
    );
}

#[tokio::test]
async fn upload_is_a_form_with_a_content_length() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"messages\":[]}\n").unwrap();
    let (address, seen) = server(vec![ScriptedReply::Say(200, "", r#"{"id":"file-1"}"#)]).await;
    let upload = Upload {
        fields: &[("purpose", "fine-tune")],
        part: "file",
        name: "rows.jsonl",
        path: file.path(),
    };
    let answer = client(&address).upload(&["files"], &upload).await.unwrap();
    assert_eq!(answer["id"], "file-1");
    let request = &sent(&seen)[0];
    for part in [
        "content-type: multipart/form-data; boundary=",
        "Content-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n",
        "Content-Disposition: form-data; name=\"file\"; filename=\"rows.jsonl\"\r\n",
        "\r\n\r\n{\"messages\":[]}\n\r\n--",
    ] {
        assert!(request.contains(part), "{part:?} in {request}");
    }
    assert!(!request.contains("chunked"), "{request}");
}

#[test]
fn key_from_the_default_variable_goes_to_its_own_address_only() {
    let own = "https://api.openai.com/v1";
    // No test sets a variable: another reads them at the same time.
    let unset = "BSFT_TEST_NO_SUCH_VARIABLE";
    let key = |address: &str, named: Option<&str>, usual: &str| {
        let spec = ServiceSpec {
            api_base: Some(address.to_owned()),
            api_key_env: named.map(str::to_owned),
            ..ServiceSpec::default()
        };
        access(&spec, own, usual, &KeyRing::of_the_author()).map(|access| access.key.is_some())
    };
    let missing = key(own, None, unset).unwrap_err();
    assert!(missing.to_string().contains(unset), "{missing}");
    assert!(key("https://elsewhere/v1", Some(unset), "PATH").is_err());
    assert_eq!(key("https://elsewhere/v1", None, "PATH"), Ok(false));
    let named = key("http://127.0.0.1/v1", Some(unset), "PATH").unwrap_err();
    assert!(named.to_string().contains(unset), "{named}");
    assert_eq!(key("http://127.0.0.1/v1", None, "PATH"), Ok(false));
    assert_eq!(key("https://api.openai.com/v1/", None, "PATH"), Ok(true));
}

#[tokio::test]
async fn put_follows_a_redirect_and_carries_no_key() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "rows").unwrap();
    let (address, seen) = server(vec![
        ScriptedReply::Say(307, "Location: /elsewhere?signature=t\r\n", ""),
        ScriptedReply::Say(200, "", "<Stored/>"),
    ])
    .await;
    let put = Put {
        path: file.path(),
        headers: &[("x-range", "4,4")],
    };
    client(&address).put("/bucket?signature=s", &put).await.unwrap();
    let sent = sent(&seen);
    assert!(
        sent[0].starts_with("PUT /bucket?signature=s HTTP/1.1\r\n"),
        "{}",
        sent[0]
    );
    assert!(
        sent[1].starts_with("PUT /elsewhere?signature=t HTTP/1.1\r\n"),
        "{}",
        sent[1]
    );
    for request in sent {
        assert!(!request.contains(KEY), "{request}");
        assert!(
            request.contains("x-range: 4,4\r\n") && request.ends_with("\r\n\r\nrows"),
            "{request}"
        );
        assert!(
            request.contains("content-length: 4\r\n") && !request.contains("chunked"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn put_gives_up_on_circular_redirects() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let circle = || ScriptedReply::Say(307, "Location: /bucket\r\n", "");
    let (address, seen) = server((0..20).map(|_| circle()).collect()).await;
    let put = Put {
        path: file.path(),
        headers: &[],
    };
    let error = client(&address).put("/bucket", &put).await.unwrap_err();
    assert!(error.to_string().ends_with("it leads in a circle"), "{error}");
    assert_eq!(sent(&seen).len(), 6);
}

#[tokio::test]
async fn put_over_plain_http_is_refused_for_an_https_service() {
    let put = Put {
        path: Path::new("/no/such/file"),
        headers: &[],
    };
    let https = client("https://127.0.0.1:1/v1");
    let error = https
        .put("http://127.0.0.1:1/bucket?signature=s", &put)
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("it is not https"), "{error}");
    assert!(!error.to_string().contains("signature"), "{error}");
}
