//! What stands in the way to an LM server: redirects, proxies, certificates, ports without TLS. Each is named with its remedy, and none
//! makes an example fail.

use crate::support::certificates::Certificates;
use crate::support::odd_lm::{OddLm, write_job_at};
use crate::support::{Ended, Folder, ReservedPort, Running};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// More examples than are asked before the run stops.
const CASES: [&str; 5] = ["good"; 5];

/// A job whose LM is at that address.
fn job_at(base: &str) -> Folder {
    let folder = Folder::new();
    write_job_at(base, &folder, "text -> answer", "", &CASES);
    folder
}

/// Asserts that the run stopped with this code and these words, and that no example failed.
#[track_caller]
fn assert_stopped(folder: &Folder, ended: Ended, code: i32, words: &[&str]) {
    let ended = ended.with(code);
    let stopped = ended.stderr.rsplit("error: ").next().unwrap();
    for words in words {
        assert!(stopped.contains(words), "{words:?} is not in:\n{}", ended.stderr);
    }
    assert!(stopped.contains("nothing is lost"), "{stopped}");
    assert!(!stopped.contains("start the server"), "{stopped}");
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    assert_eq!(folder.read("run/failures.jsonl"), "", "{}", ended.stderr);
}

#[test]
fn redirect_or_plain_request_to_tls_stops_the_run_with_the_remedy() {
    let server = OddLm::start();
    let moved = format!(
        "`api_base = \"{}/other/v1\"`",
        server.base().trim_end_matches("/v1")
    );
    let runs = [
        ("redirect", vec!["HTTP 307: it redirects to", &moved]),
        (
            "login",
            vec!["it redirects to https://login.example/, which takes no chat completions"],
        ),
        (
            "plain_to_tls",
            vec!["HTTP 400: the port uses TLS: write https://"],
        ),
    ]
    .map(|(case, words)| {
        let folder = Folder::new();
        server.write_job(&folder, "text -> answer", "", &[case; 5]);
        let running = folder.start(&COMPILE);
        (folder, running, words)
    });
    for (folder, running, words) in runs {
        assert_stopped(
            &folder,
            running.end(),
            1,
            &[&["refused every request"][..], &words].concat(),
        );
    }
}

/// A proxy that answers every request with this line, until the test ends.
fn refusing_proxy(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The client may be gone before the answer.
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let _ = write!(
                stream,
                "HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
        }
    });
    port
}

#[test]
fn proxy_in_the_way_is_named_with_its_variable_and_without_its_password() {
    let unused = ReservedPort::new();
    let server = OddLm::start();
    let plain = server.base();
    let with_tls = plain.replace("http:", "https:");
    let demands = "demands a user and a password: write them into";
    let proxies = [
        (
            &plain,
            "HTTP_PROXY",
            unused.number(),
            4,
            "cannot be reached (Connection refused",
        ),
        (
            &plain,
            "http_proxy",
            unused.number(),
            4,
            "correct http_proxy, or name 127.0.0.1 in NO_PROXY",
        ),
        (
            &with_tls,
            "HTTPS_PROXY",
            unused.number(),
            4,
            "cannot be reached (Connection refused",
        ),
        (
            &with_tls,
            "ALL_PROXY",
            refusing_proxy("403 Forbidden"),
            4,
            "refuses a connection to 127.0.0.1",
        ),
        (&with_tls, "HTTPS_PROXY", refusing_proxy("407 Login"), 4, demands),
        (&plain, "HTTP_PROXY", refusing_proxy("407 Login"), 1, demands),
    ];
    let runs = proxies.map(|(base, variable, port, code, words)| {
        let folder = job_at(base);
        let proxy = format!("http://user:hunter2@127.0.0.1:{port}");
        let running = folder.start_with(&COMPILE, &[(variable, &proxy)]);
        let named = format!("the proxy http://127.0.0.1:{port} of {variable} ");
        (folder, running, code, [named, words.to_owned()])
    });
    for (folder, running, code, words) in runs {
        assert_stopped(
            &folder,
            running.end(),
            code,
            &words.each_ref().map(String::as_str),
        );
    }
}

#[test]
fn no_proxy_exempts_addresses_as_well_as_names() {
    let unused = ReservedPort::new();
    let proxy = format!("http://127.0.0.1:{}", unused.number());
    let server = OddLm::start();
    for exempt in ["*", "example.org, *", "127.0.0.1", "127.0.0.0/8"] {
        let folder = job_at(&server.base());
        let variables = [("HTTP_PROXY", proxy.as_str()), ("NO_PROXY", exempt)];
        folder.start_with(&COMPILE, &variables).end().with(0);
        assert_eq!(folder.traced("run"), CASES.len());
    }
}

/// Starts a compile against the address, with this file of trusted authorities.
fn trusting(base: &str, authorities: &Path) -> (Folder, Running) {
    let folder = job_at(base);
    let authorities = authorities.to_str().unwrap();
    let running = folder.start_with(&COMPILE, &[("SSL_CERT_FILE", authorities)]);
    (folder, running)
}

#[test]
fn certificate_in_the_way_is_named_with_its_remedy() {
    let Some(ours) = Certificates::made() else { return };
    let others = Certificates::made().unwrap();
    let elsewhere = Certificates::made_for("DNS:elsewhere.example").unwrap();
    let tls = |certificates: &Certificates, name: &str| {
        let file = |ending: &str| certificates.dir().join(format!("{name}.{ending}"));
        let server = OddLm::start_with_tls(&file("pem"), &file("key"));
        let base = server.base().replace("http:", "https:");
        (server, base)
    };
    let (good, base) = tls(&ours, "server");
    let (_of_an_authority, base_of_an_authority) = tls(&ours, "authority");
    let (_elsewhere, base_elsewhere) = tls(&elsewhere, "server");
    let plain = OddLm::start();
    let plain_with_tls = plain.base().replace("http:", "https:");
    let runs = [
        (&base, &others, "is from an authority that is not trusted here"),
        (
            &base_of_an_authority,
            &ours,
            "make one with basicConstraints = CA:FALSE",
        ),
        (
            &base_elsewhere,
            &elsewhere,
            "is for elsewhere.example, not for 127.0.0.1",
        ),
        (&plain_with_tls, &ours, "check that the port uses TLS"),
    ]
    .map(|(base, trusted, words)| (trusting(base, &trusted.authority()), words));
    for ((folder, running), words) in runs {
        assert_stopped(&folder, running.end(), 4, &[words]);
    }
    let (folder, running) = trusting(&base, &ours.authority());
    running.end().with(0);
    assert_eq!(folder.traced("run"), CASES.len());
    // A plain request to a port with TLS may get no answer at all.
    let folder = job_at(&good.base());
    let ended = folder.compile("run").with(4);
    assert!(
        ended.stderr.contains("write https:// in place of http://"),
        "{}",
        ended.stderr
    );
}

#[test]
fn ssl_cert_file_without_certificates_is_named() {
    let folder = job_at("https://127.0.0.1:9/v1");
    folder.write("empty.pem", "");
    for (file, words) in [
        (
            "missing.pem",
            "SSL_CERT_FILE names \"missing.pem\", which cannot be read: No such file",
        ),
        (
            "empty.pem",
            "SSL_CERT_FILE names \"empty.pem\", which has no certificate in PEM format",
        ),
    ] {
        let variables = [("SSL_CERT_FILE", file)];
        let checked = folder.start_with(&["check", "job.toml"], &variables).end();
        checked.with(0).saying(&format!("warning: {words}"));
        let ended = folder.start_with(&COMPILE, &variables).end().with(2);
        assert!(
            ended
                .stderr
                .contains(&format!("error: lm `teacher`: no HTTP client: {words}")),
            "{}",
            ended.stderr
        );
    }
    // Requests without TLS need no authority.
    let server = OddLm::start();
    let folder = job_at(&server.base());
    let ended = folder.start_with(&COMPILE, &[("SSL_CERT_DIR", "missing")]).end();
    ended
        .with(0)
        .saying("warning: SSL_CERT_DIR names \"missing\", which cannot be read");
}
