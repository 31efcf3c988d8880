//! An API key is in no file, no log line and no message, whatever the server does with it.

use crate::support::{Ended, Folder, JobFile, LmServer};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

const VARIABLE: &str = "BSFT_TEST_KEY";
const KEY: &str = "sk-test-secret-123";

fn job(api_base: &str) -> JobFile {
    let mut job = JobFile::at(api_base);
    job.teacher.push_str(&format!("\napi_key_env = \"{VARIABLE}\""));
    job
}

/// Compiles with the key in the environment and everything logged.
fn compile(folder: &Folder) -> Ended {
    let variables = [(VARIABLE, KEY), ("BSFT_LOG", "trace")];
    folder
        .start_with(&["compile", "job.toml", "--out", "run"], &variables)
        .end()
}

#[track_caller]
fn assert_no_key(folder: &Folder, ended: &Ended) {
    assert!(!ended.stdout.contains(KEY) && !ended.stderr.contains(KEY));
    for (name, bytes) in folder.files() {
        assert!(
            !bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()),
            "the key is in {name}"
        );
    }
}

/// Answers every request with what `answer` makes of the request's own `Authorization`: a status line and a body. Gives the address.
fn echoing_server(answer: fn(&str) -> (&'static str, String)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}/v1", listener.local_addr().unwrap());
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream, answer));
        }
    });
    base
}

fn echo(stream: TcpStream, answer: fn(&str) -> (&'static str, String)) {
    let mut reader = BufReader::new(stream);
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = value.trim().to_owned();
            }
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert!(
        authorization.ends_with(KEY),
        "the key was not sent: {authorization:?}"
    );
    let (status, said) = answer(&authorization);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Key: {KEY}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        said.len()
    );
    // A client that is gone needs no answer.
    let _ = reader.into_inner().write_all(format!("{head}{said}").as_bytes());
}

#[test]
fn api_key_is_in_no_file_and_no_log() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    job(&server.base()).write(&folder, 20);
    let ended = compile(&folder).with(0);
    assert_no_key(&folder, &ended);
}

#[test]
fn api_key_echoed_in_an_error_is_redacted() {
    let folder = Folder::new();
    let server = echoing_server(|authorization| {
        let said = format!("incorrect API key provided: {authorization}");
        (
            "401 Unauthorized",
            json!({"error": {"message": said}}).to_string(),
        )
    });
    job(&server).write(&folder, 20);
    let ended = compile(&folder).with(1).saying("401");
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_no_key(&folder, &ended);
}

#[test]
fn api_key_echoed_in_an_answer_is_redacted() {
    let folder = Folder::new();
    let server = echoing_server(|authorization| {
        let said = format!(
            "[[ ## plan ## ]]\n{authorization}\n\n[[ ## reasoning ## ]]\n{authorization}\n\n[[ ## answer ## ]]\nparis"
        );
        (
            "200 OK",
            json!({"choices": [{"message": {"content": said}}]}).to_string(),
        )
    });
    job(&server).write(&folder, 20);
    let ended = compile(&folder);
    assert_eq!(folder.traced("run"), 20, "{}", ended.stderr);
    assert_no_key(&folder, &ended);
}

#[test]
fn api_key_in_the_job_file_is_refused_and_not_printed() {
    let folder = Folder::new();
    for line in [format!("api_key = \"{KEY}\""), format!("api_key_env = \"{KEY}\"")] {
        let mut job = JobFile::at("http://127.0.0.1:1/v1");
        job.teacher.push_str(&format!("\n{line}"));
        job.write(&folder, 3);
        let ended = folder
            .compile("run")
            .with(2)
            .saying("api_key_env = \"OPENAI_API_KEY\"");
        assert!(!ended.stderr.contains(KEY), "{}", ended.stderr);
    }
}

#[test]
fn unset_api_key_env_is_an_error_before_any_lm_call() {
    let folder = Folder::new();
    job("https://127.0.0.1:1/v1").write(&folder, 3);
    let ended = folder.compile("run").with(2).saying(VARIABLE);
    assert!(ended.stderr.contains("not set"), "{}", ended.stderr);
    assert!(!folder.path("run/traces.jsonl").exists());
    folder
        .run(&["check", "job.toml"])
        .with(0)
        .saying("warning: to compile it here")
        .saying(VARIABLE);
}
