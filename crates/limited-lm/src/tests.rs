//! The server over real connections.

use crate::{LimitedServer, OutageKind, PlannedOutage, ServerBehaviour, SharedCapacity};
use std::io::{BufRead as _, BufReader, Error, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

/// Sends a request on a connection of its own, and returns the status of the response.
fn ask(server: &LimitedServer, body: &str) -> Result<u16, Error> {
    let mut stream = connect(server)?;
    send(&mut stream, body)?;
    receive(stream)
}

fn connect(server: &LimitedServer) -> Result<TcpStream, Error> {
    TcpStream::connect(server.base().replace("http://", "").replace("/v1", ""))
}

fn send(stream: &mut TcpStream, body: &str) -> Result<(), Error> {
    let length = body.len();
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())
}

fn receive(stream: TcpStream) -> Result<u16, Error> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if reader.read_line(&mut head)? == 0 {
            return Err(Error::other("no answer"));
        }
        if let Some(value) = head[start..].strip_prefix("content-length: ") {
            length = value.trim().parse().map_err(Error::other)?;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    status.parse().map_err(Error::other)
}

/// A server without latency.
fn quick() -> ServerBehaviour {
    ServerBehaviour {
        latency_ms: 0.0,
        ..ServerBehaviour::default()
    }
}

#[test]
fn server_counts_answers_by_body() {
    let server = LimitedServer::start(quick()).unwrap();
    for body in ["one", "two", "one"] {
        assert_eq!(ask(&server, body).unwrap(), 200);
    }
    let counts = server.counts();
    assert_eq!((counts.arrivals, counts.distinct, counts.answers), (3, 2, 3));
    assert_eq!((counts.answered_twice, counts.in_flight), (1, 0));
}

#[test]
fn server_counts_requests_in_flight_and_dropped_ones() {
    let server = LimitedServer::start(ServerBehaviour { hang: 1.1, ..quick() }).unwrap();
    let mut stream = connect(&server).unwrap();
    send(&mut stream, "hangs").unwrap();
    while server.counts().in_flight == 0 {
        thread::yield_now();
    }
    drop(stream);
    while server.counts().in_flight == 1 {
        thread::yield_now();
    }
    let counts = server.counts();
    assert_eq!((counts.most_in_flight, counts.hung, counts.dropped), (1, 1, 1));
    // Only the first request with a body hangs.
    assert_eq!(ask(&server, "hangs").unwrap(), 200);
}

#[test]
fn half_of_an_answer_is_not_counted_as_one() {
    let server = LimitedServer::start(ServerBehaviour { half: 1.1, ..quick() }).unwrap();
    assert!(ask(&server, "body").is_err());
    assert_eq!(ask(&server, "body").unwrap(), 200);
    let counts = server.counts();
    assert_eq!((counts.halved, counts.answers, counts.answered_twice), (1, 1, 0));
}

#[test]
fn start_outage_refuses_resets_or_returns_503_until_end_outage() {
    let server = LimitedServer::start(quick()).unwrap();
    assert_eq!(ask(&server, "before").unwrap(), 200);
    server.start_outage(OutageKind::Unavailable);
    assert_eq!(ask(&server, "during").unwrap(), 503);
    server.start_outage(OutageKind::Reset);
    while server.counts().resets == 0 {
        let _ = ask(&server, "during");
    }
    assert!(ask(&server, "during").is_err());
    server.start_outage(OutageKind::Refuse);
    while connect(&server).is_ok() {}
    server.end_outage();
    while connect(&server).is_err() {}
    assert_eq!(ask(&server, "after").unwrap(), 200);
}

#[test]
fn outage_begins_after_its_answers_and_ends_by_itself() {
    let server = LimitedServer::start(ServerBehaviour {
        outage: Some(PlannedOutage {
            how: OutageKind::Unavailable,
            from_s: 0.0,
            after_answers: 2,
            for_s: 0.05,
        }),
        ..quick()
    });
    let server = server.unwrap();
    while server.counts().status(503) == 0 {
        let _ = ask(&server, "body");
    }
    assert!(server.counts().answers >= 2);
    while ask(&server, "body").unwrap() != 200 {}
}

#[test]
fn shared_capacity_answers_all_in_flight() {
    let server = LimitedServer::start(ServerBehaviour {
        speed: 10.0,
        saturation: Some(SharedCapacity {
            peak_rps: 100.0,
            base_s: 0.1,
            thrash_from: None,
        }),
        ..quick()
    });
    let server = server.unwrap();
    thread::scope(|scope| {
        for i in 0..40 {
            let server = &server;
            scope.spawn(move || assert_eq!(ask(server, &i.to_string()).unwrap(), 200));
        }
    });
    let counts = server.counts();
    assert_eq!((counts.answers, counts.dropped, counts.in_flight), (40, 0, 0));
}
