//! A bench's LM server, as cheap as it can be (hand-written HTTP/1.1 on bare tokio), and a load loop to measure it with.
//!
//! `bench-lm-server [--port N] [--latency-ms N] [--fail-first P] [--field label]` serves until killed and counts what
//! it was asked at `GET /_count`. `bench-lm-server --drive URL [--client bare|openai] [--requests N] [--in-flight N]
//! [--body-bytes N]` asks such a server and prints requests a second and CPU seconds per 1,000 requests.

#[path = "bench-lm-server/drive.rs"]
mod drive;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type BenchError = Box<dyn std::error::Error + Send + Sync>;

/// `--name value` pairs.
struct Arguments(HashMap<String, String>);

impl Arguments {
    fn read() -> Result<Arguments, BenchError> {
        let mut flags = HashMap::new();
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let name = arg
                .strip_prefix("--")
                .ok_or_else(|| format!("`{arg}` is not a --flag"))?;
            let value = args.next().ok_or_else(|| format!("--{name} needs a value"))?;
            flags.insert(name.to_owned(), value);
        }
        Ok(Arguments(flags))
    }

    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).map_or(default, String::as_str).to_owned()
    }

    fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> Result<T, BenchError> {
        let Some(text) = self.0.get(name) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| format!("--{name}: `{text}` is not a number").into())
    }
}

fn main() -> Result<(), BenchError> {
    let flags = Arguments::read()?;
    // Thousands of connections; a refusal shows when they run out.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match flags.0.get("drive") {
        Some(url) => runtime.block_on(drive::drive(url, &flags)),
        None => runtime.block_on(serve(&flags)),
    }
}

struct BenchServer {
    latency: Duration,
    fail_first: f64,
    field: String,
    count: AtomicU64,
    /// Hashes of the bodies that have failed once.
    failed: Mutex<HashSet<u64>>,
}

async fn serve(flags: &Arguments) -> Result<(), BenchError> {
    let server = Arc::new(BenchServer {
        latency: Duration::from_millis(flags.number("latency-ms", 0)?),
        fail_first: flags.number("fail-first", 0.0)?,
        field: flags.text("field", "label"),
        count: AtomicU64::new(0),
        failed: Mutex::default(),
    });
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], flags.number("port", 0)?).into())?;
    let listener: TcpListener = socket.listen(16_384)?;
    writeln!(std::io::stdout(), "http://{}/v1", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let server = server.clone();
        // A client that goes away in the middle is none of ours.
        tokio::spawn(async move { drop(server.talk(stream).await) });
    }
}

impl BenchServer {
    async fn talk(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::with_capacity(8192);
        let mut out = Vec::with_capacity(1024);
        loop {
            let (head, end) = loop {
                if let Some(found) = request(&buffer) {
                    break found;
                }
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            };
            out.clear();
            if buffer.starts_with(b"POST") {
                self.count.fetch_add(1, Relaxed);
                if !self.latency.is_zero() {
                    tokio::time::sleep(self.latency).await;
                }
                self.answer(&String::from_utf8_lossy(&buffer[head..end]), &mut out)?;
            } else {
                let count = self.count.load(Relaxed).to_string();
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{count}",
                    count.len()
                )?;
            }
            stream.write_all(&out).await?;
            buffer.drain(..end);
        }
    }

    /// An answer in the chat adapter's format, with `reasoning` where the prompt asks for it and the first of a
    /// literal's members where it names them.
    fn answer(&self, body: &str, out: &mut Vec<u8>) -> std::io::Result<()> {
        if self.fails(body) {
            out.extend_from_slice(b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-length: 2\r\n\r\n{}");
            return Ok(());
        }
        let members = body.split_once("one of: ").map(|(_, rest)| rest);
        let label = members
            .and_then(|rest| rest.split([';', '\\', '"']).next())
            .unwrap_or("yes");
        let reasoning = if body.contains("[[ ## reasoning ## ]]") {
            r"[[ ## reasoning ## ]]\nIt is so.\n\n"
        } else {
            ""
        };
        let field = &self.field;
        let content = format!(r"{reasoning}[[ ## {field} ## ]]\n{label}\n\n[[ ## completed ## ]]");
        let (asked, answered) = (body.len() / 4, content.len() / 4);
        let total = asked + answered;
        let json = format!(
            r#"{{"id":"bench","object":"chat.completion","created":1,"model":"bench","choices":[{{"index":0,"message":{{"role":"assistant","content":"{content}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":{asked},"completion_tokens":{answered},"total_tokens":{total}}}}}"#
        );
        let len = json.len();
        write!(
            out,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len}\r\n\r\n{json}"
        )
    }

    /// Whether this is the first time that a body comes which is to fail once.
    fn fails(&self, body: &str) -> bool {
        if self.fail_first <= 0.0 {
            return false;
        }
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let hash = hasher.finish();
        (hash >> 32) as f64 / f64::from(u32::MAX) < self.fail_first
            && self
                .failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(hash)
    }
}

/// Where the body of the first whole request in the buffer starts and ends.
fn request(buffer: &[u8]) -> Option<(usize, usize)> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = buffer[..head].split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked("content-length:".len())?;
        name.eq_ignore_ascii_case(b"content-length:")
            .then(|| value.trim_ascii())
    });
    let length = length
        .and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok())
        .unwrap_or(0);
    (buffer.len() >= head + length).then_some((head, head + length))
}
