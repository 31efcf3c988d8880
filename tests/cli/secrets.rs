//! An API key is in no file, no log line and no message, whatever the server does with it.

use crate::support::{Ended, Folder, JobFile, LmServer, ReservedPort, Running, clean};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
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

/// A file with this content in a folder of its own, beside the job's.
fn file(folder: &Folder, content: &str) -> String {
    folder.write("secret", content);
    folder.path("secret").display().to_string()
}

#[test]
fn api_key_is_read_from_the_file_that_name_file_names() {
    let server = echoing_server(|_| {
        let text = "[[ ## plan ## ]]\na\n\n[[ ## reasoning ## ]]\nb\n\n[[ ## answer ## ]]\nparis";
        (
            "200 OK",
            json!({"choices": [{"message": {"content": text}}]}).to_string(),
        )
    });
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    job(&server).write(&folder, 20);
    let variable = format!("{VARIABLE}_FILE");
    let compile = |variables: &[(&str, &str)]| {
        folder
            .start_with(&["compile", "job.toml", "--out", "run"], variables)
            .end()
    };
    let path = file(&elsewhere, &format!("{KEY}\n"));
    let both = [(variable.as_str(), path.as_str()), (VARIABLE, KEY)];
    let refused = compile(&both).with(2).saying("are both set; unset one of them");
    assert_no_key(&folder, &refused);
    compile(&[(&variable, "/nowhere/key")]).with(2).saying(&format!(
        "{variable}: /nowhere/key cannot be read: No such file or directory"
    ));
    // The key itself, in the wrong variable, is not repeated.
    let refused = compile(&[(&variable, KEY)]).with(2).saying(&variable);
    assert_no_key(&folder, &refused);
    let check = folder.start_with(&["check", "job.toml"], &both).end().with(0);
    check.saying("to compile it here").saying("are both set");
    let ended = compile(&[(&variable, &path)]).with(0);
    assert_eq!(folder.traced("run"), 20);
    assert_no_key(&folder, &ended);
}

#[test]
fn urls_of_the_services_are_read_from_files() {
    let ports = [ReservedPort::new(), ReservedPort::new()];
    let urls = [
        format!("amqp://u:hidden@127.0.0.1:{}", ports[0].number()),
        format!("redis://u:hidden@127.0.0.1:{}", ports[1].number()),
    ];
    let folders = [Folder::new(), Folder::new()];
    let [amqp, redis] = [0, 1].map(|index| file(&folders[index], &format!("{}\n", urls[index])));
    let worker = |variables: &[(&str, &str)]| {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
        command.envs(variables.iter().copied());
        Running::start(command).end()
    };
    let files = [
        ("BSFT_AMQP_URL_FILE", amqp.as_str()),
        ("BSFT_REDIS_URL_FILE", redis.as_str()),
    ];
    let mut ended = worker(&files).with(4);
    for url in &urls {
        ended = ended.saying(&url.replace(":hidden", ""));
    }
    assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    let both = [files[0], files[1], ("BSFT_AMQP_URL", urls[0].as_str())];
    let refused = worker(&both)
        .with(2)
        .saying("BSFT_AMQP_URL and BSFT_AMQP_URL_FILE are both set");
    assert!(!refused.stderr.contains("hidden"), "{}", refused.stderr);
    worker(&files[..1]).with(2).saying("--redis-url");
    worker(&[files[0], ("BSFT_REDIS_URL_FILE", "/nowhere/url")])
        .with(2)
        .saying("BSFT_REDIS_URL_FILE: /nowhere/url cannot be read");
}

#[test]
fn broken_urls_end_with_code_2_and_show_no_password() {
    let folder = Folder::new();
    let (amqp, redis) = ("amqp://127.0.0.1:1", "redis://127.0.0.1:1");
    let with = |amqp: &str, redis: &str| {
        let urls = [("BSFT_AMQP_URL", amqp), ("BSFT_REDIS_URL", redis)];
        let ended = folder.start_with(&["status"], &urls).end().with(2);
        let all = ended.stdout + &ended.stderr;
        assert!(!all.contains("hidden"), "{amqp} {redis}: {all}");
        all
    };
    for slip in [
        "redis://host/:hidden",
        "redis://me:12/hidden@host",
        "rediss://me:hidden@host#insecure",
    ] {
        with(amqp, slip);
    }
    for slip in [
        "amqp://me:12/hidden@host",
        "amqp:/me:hidden@host",
        "hidden:x@host",
    ] {
        with(slip, redis);
    }
    let insecure = with(amqp, "rediss://127.0.0.1#insecure");
    assert!(insecure.contains("certificates are always checked"), "{insecure}");
    // In a place where no URL belongs.
    for arguments in [
        ["status", "amqp://me:hidden@host"],
        ["status", "--amqp=amqp://me:12/hidden@host"],
    ] {
        let ended = folder.run(&arguments).with(2);
        assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    }
}

#[test]
fn password_in_clear_text_to_another_machine_is_warned_of_once() {
    let folder = Folder::new();
    // RFC 2606: no such host exists.
    let urls = [
        ("BSFT_AMQP_URL", "amqp://me:hidden@rabbit.invalid:5672"),
        ("BSFT_REDIS_URL", "redis://:hidden@redis.invalid:6379"),
    ];
    let ended = folder.start_with(&["status"], &urls).end();
    for (flag, host) in [("--amqp-url", "rabbit.invalid"), ("--redis-url", "redis.invalid")] {
        let warning = format!("{flag}: the password goes to {host} in clear text");
        assert_eq!(ended.stderr.matches(&warning).count(), 1, "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
}
