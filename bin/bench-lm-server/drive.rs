//! The load loop: the least that a client can do over reqwest, or the LM client itself, for comparison.

use crate::{Arguments, BenchError};
use async_trait::async_trait;
use bsft::adapter::{Adapter, FormatError, Message, ParseFailure};
use bsft::lm::{Lm, LmRequest, LmSettings, OpenAi, RequestContext, Verdict};
use bsft::memory::MemoryShare;
use bsft::metrics::Metrics;
use bsft::signature::Signature;
use bsft::value::Record;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// A request and its answer, nothing in between.
struct Bare {
    client: reqwest::Client,
    url: String,
}

/// Whatever can be loaded.
#[async_trait]
trait Target: Send + Sync {
    async fn ask(&self, body: String) -> Result<(), BenchError>;
}

#[async_trait]
impl Target for Bare {
    async fn ask(&self, body: String) -> Result<(), BenchError> {
        let request = self
            .client
            .post(&self.url)
            .header("content-type", "application/json")
            .body(body);
        request.send().await?.error_for_status()?.bytes().await?;
        Ok(())
    }
}

#[async_trait]
impl Target for OpenAi {
    async fn ask(&self, body: String) -> Result<(), BenchError> {
        let signature = Signature {
            instructions: String::new(),
            inputs: vec![],
            outputs: vec![],
        };
        let context = RequestContext {
            signature: &signature,
            adapter: &Mute,
            example: &Record::new(),
        };
        let request = LmRequest {
            body: &body,
            context,
            memory: &MemoryShare::unlimited(),
        };
        match Lm::complete(self, request).await.verdict {
            Verdict::Answer(_) => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }
}

/// An adapter for requests whose answers are not parsed.
#[derive(Debug)]
struct Mute;

impl Adapter for Mute {
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

/// Asks `--requests` times, `--in-flight` at once, and prints what it took.
pub(crate) async fn drive(base: &str, flags: &Arguments) -> Result<(), BenchError> {
    let requests: usize = flags.number("requests", 100_000)?;
    let in_flight: usize = flags.number("in-flight", 256)?;
    let filler = "x".repeat(flags.number("body-bytes", 2000)?);
    let name = flags.text("client", "bare");
    let target = target(&name, base)?;
    let next = Arc::new(AtomicUsize::new(0));
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let (target, next, filler) = (target.clone(), next.clone(), filler.clone());
        tasks.spawn(async move {
            loop {
                let i = next.fetch_add(1, Relaxed);
                if i >= requests {
                    return Ok(());
                }
                target
                    .ask(format!(
                        r#"{{"model":"m","messages":[{{"role":"user","content":"{i} {filler}"}}]}}"#
                    ))
                    .await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        let done: Result<(), BenchError> = done?;
        done?;
    }
    let (took, cpu) = (start.elapsed().as_secs_f64(), (cpu_time()? - cpu).as_secs_f64());
    let (rate, per_thousand) = (requests as f64 / took, cpu / requests as f64 * 1000.0);
    writeln!(
        std::io::stdout(),
        "{name}: {requests} requests, {in_flight} in flight: {rate:.0} req/s, {per_thousand:.4} CPU s per 1,000"
    )?;
    Ok(())
}

fn target(name: &str, base: &str) -> Result<Arc<dyn Target>, BenchError> {
    let settings = LmSettings {
        api_base: Some(base.to_owned()),
        ..LmSettings::new("bench", "openai/m")
    };
    // Making it also sets the TLS provider, without which reqwest builds nothing.
    let openai = OpenAi::new(&settings, None, settings.metrics(&Metrics::new()))?;
    match name {
        "openai" => Ok(Arc::new(openai)),
        "bare" => {
            let client = reqwest::Client::builder()
                .tcp_nodelay(true)
                .tls_certs_only([])
                .build()?;
            Ok(Arc::new(Bare {
                client,
                url: format!("{}/chat/completions", base.trim_end_matches('/')),
            }))
        }
        _ => Err(format!("--client is bare or openai, not `{name}`").into()),
    }
}

/// User and system time of this process, from Linux's `/proc`, in ticks of 10 ms.
fn cpu_time() -> Result<Duration, BenchError> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The command's name is in parentheses and may contain spaces; utime and stime are the 12th and 13th field after
    // it.
    let (_, rest) = stat.rsplit_once(") ").ok_or("an unreadable /proc/self/stat")?;
    let ticks: Vec<u64> = rest
        .split(' ')
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
}
