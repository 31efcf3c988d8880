//! The fuzz target that sends its input to the client of LM servers, over a real connection.

use bsft::lm::{Lm as _, LmRequest, LmSettings, OpenAi, RequestContext};
use bsft::memory::MemoryShare;
use bsft::metrics::Metrics;
use bsft_dspy::adapter::ChatAdapter;
use bsft_dspy::signature::{NamedTypes, Signature};
use bsft_pycompat::value::Record;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use tokio::runtime::{Builder, Runtime};

/// A server that answers everything with the same bytes, and a client.
struct Connection {
    runtime: Runtime,
    client: OpenAi,
    signature: Signature,
    /// The next response.
    response: Arc<Mutex<Vec<u8>>>,
}

/// The input is a line with the status and the content encodings, and the body. Each character below U+0100 of an encoded body is one
/// byte. Every response has a verdict.
pub(crate) fn reply(text: &str) {
    static CONNECTION: OnceLock<Mutex<Connection>> = OnceLock::new();
    let connection = CONNECTION.get_or_init(|| Mutex::new(Connection::new()));
    let connection = connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    connection.play(text);
}

impl Connection {
    fn new() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let response = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&response);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream.expect("a connection"), &shared));
            }
        });
        let mut settings = LmSettings::new("teacher", "openai/m");
        settings.api_base = Some(format!("http://{address}/v1"));
        let runtime = Builder::new_current_thread().enable_all().build();
        let metrics = settings.metrics(&Metrics::new());
        Connection {
            runtime: runtime.expect("a runtime"),
            client: OpenAi::new(&settings, None, metrics).expect("sound settings"),
            signature: Signature::parse("q -> a", None, &NamedTypes::default()).expect("a valid signature"),
            response,
        }
    }

    fn play(&self, text: &str) {
        let (head, body) = text.split_once('\n').unwrap_or(("", text));
        let (status, encoding) = head.split_once(' ').unwrap_or((head, ""));
        // A status of its own ends the connection, or has no body.
        let status = status
            .parse()
            .ok()
            .filter(|status| (200..=599).contains(status) && ![204, 304].contains(status));
        let encoding: String = encoding.chars().filter(|c| matches!(c, ' '..='~')).collect();
        let byte = |c: char| u8::try_from(u32::from(c)).ok();
        let body: Vec<u8> = match body.chars().map(byte).collect() {
            Some(bytes) if !encoding.is_empty() => bytes,
            _ => body.as_bytes().to_vec(),
        };
        let mut response = format!(
            "HTTP/1.1 {} X\r\ncontent-encoding: {encoding}\r\ncontent-length: {}\r\n\r\n",
            status.unwrap_or(200),
            body.len()
        )
        .into_bytes();
        response.extend(body);
        *self.response.lock().expect("no thread panics with it") = response;
        let example = Record::new();
        let context = RequestContext {
            signature: &self.signature,
            adapter: &ChatAdapter,
            example: &example,
        };
        let memory = MemoryShare::unlimited();
        self.runtime.block_on(self.client.complete(LmRequest {
            body: "{}",
            context,
            memory: &memory,
        }));
    }
}

/// Answers every request on a connection.
fn serve(stream: TcpStream, response: &Mutex<Vec<u8>>) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        let response = response.lock().expect("no thread panics with it").clone();
        if length == 0 || reader.read_exact(&mut body).is_err() || writer.write_all(&response).is_err() {
            return;
        }
    }
}
