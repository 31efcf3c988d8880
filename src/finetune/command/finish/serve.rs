//! Makes a server load the new model, with a request or a command, and waits until it is ready.

use crate::finetune::command::process::environment::{arguments, variables};
use crate::finetune::command::procfs;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::template::{Template, plain};
use crate::finetune::command::trainers::{Argument, BodyValue, Serve, ServeHow, Trainer};
use crate::finetune::command::work_dir::WorkDir;
use crate::http::{self, BadAddress, LARGEST_ERROR, chain, collect};
use crate::secret::Secret;
use reqwest::{Client, StatusCode, Url};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// The interval between two requests to the server.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// The timeout of one request. Loading a large adapter takes some seconds.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How many characters of a server's error an error message contains.
const MAX_ERROR_CHARS: usize = 500;

/// The server process that a command started: `serve.json`.
#[derive(Serialize, Deserialize)]
struct ModelServer {
    pid: i32,
    start_ticks: Option<u64>,
}

/// Loads the model and waits until the server is ready. The error contains the last answer.
pub(super) async fn serve(
    serve: &Serve,
    trainer: &Trainer,
    work: &WorkDir,
    values: &Values,
) -> Result<(), String> {
    let deadline = Instant::now() + serve.ready_timeout;
    let ready = match &serve.ready_url {
        Some(template) => Some(url(template, values)?),
        None => None,
    };
    let mut server = None;
    match &serve.how {
        ServeHow::Post {
            url: to,
            body,
            api_key_env,
        } => {
            let to = url(to, values)?;
            post(to, &filled(body, values), api_key_env.as_deref(), deadline).await?;
        }
        ServeHow::Command(argv) => server = Some(command(argv, trainer, work, values)?),
        ServeHow::Wait => {}
    }
    let ready = wait(ready, &mut server, deadline).await;
    if let (Err(_), Some(Started::Child(child))) = (&ready, &server)
        && let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok())
    {
        procfs::signal_group(pid, Signal::KILL);
    }
    ready
}

enum Started {
    Child(Child),
    /// Started by a worker that has since exited.
    Earlier,
}

/// Starts the command in its own process group, so that the server outlives the worker.
fn command(argv: &[Argument], trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<Started, String> {
    let earlier: Option<ModelServer> = std::fs::read(work.path("serve.json"))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if earlier.is_some_and(|e| e.start_ticks.is_some() && procfs::start_ticks(e.pid) == e.start_ticks) {
        return Ok(Started::Earlier);
    }
    let argv = arguments(argv, values);
    let [program, rest @ ..] = argv.as_slice() else {
        return Err("the `serve` command is empty".to_owned());
    };
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let log = File::create(work.path("serve.log")).map_err(failed)?;
    let child = Command::new(program)
        .args(rest)
        .env_clear()
        .envs(variables(trainer, values))
        .current_dir(work.root())
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone().map_err(failed)?))
        .stderr(Stdio::from(log))
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let start_ticks = procfs::start_ticks(pid);
        work.write_json("serve.json", &ModelServer { pid, start_ticks })
            .map_err(failed)?;
    }
    Ok(Started::Child(child))
}

/// Waits until `ready` returns 200. Without an address, waits until the command has exited with 0.
async fn wait(ready: Option<Url>, server: &mut Option<Started>, deadline: Instant) -> Result<(), String> {
    let ready = match ready {
        Some(url) => Some((client(&url)?, url)),
        None => None,
    };
    loop {
        let last;
        let mut goes_on = false;
        if let Some(Started::Child(child)) = server {
            match child.try_wait().map_err(|error| error.to_string())? {
                None => goes_on = true,
                Some(status) if status.success() => {}
                Some(status) => {
                    return Err(format!("the `serve` command failed ({status}); see serve.log"));
                }
            }
        }
        match &ready {
            None if !goes_on => return Ok(()),
            None => {
                last = "the `serve` command is still running; set `ready_url` if it is a server".to_owned()
            }
            Some((client, url)) => match client.get(url.clone()).send().await {
                Ok(answer) if answer.status() == StatusCode::OK => return Ok(()),
                Ok(answer) => last = format!("{url} returned {}", answer.status()),
                Err(error) => last = format!("{url}: {}", chain(&error.without_url())),
            },
        }
        if Instant::now() >= deadline {
            return Err(format!(
                "the new model was not ready within `ready_timeout_secs`: {last}"
            ));
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Sends the request until the server answers. An error that the model is already loaded counts as success.
async fn post(url: Url, body: &Json, key_env: Option<&str>, deadline: Instant) -> Result<(), String> {
    let client = client(&url)?;
    let key = match key_env {
        None => None,
        Some(name) => {
            let key = Secret::read(name).map_err(|error| error.to_string())?;
            Some(key.ok_or_else(|| {
                format!("the variable {name} is not set; it must contain the API key of {url}")
            })?)
        }
    };
    loop {
        let mut request = client
            .post(url.clone())
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(key) = &key {
            request = request.bearer_auth(key.reveal());
        }
        let why = match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => {
                let status = answer.status();
                let body = collect(answer, LARGEST_ERROR).await.map(|(body, _)| body);
                let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
                if status.is_client_error() && text.contains("already") {
                    return Ok(());
                }
                let text = key.as_ref().map_or(text.clone(), |key| key.scrub(&text));
                let message: String = text.chars().take(MAX_ERROR_CHARS).collect();
                let why = format!("{url} returned {status}: {message}");
                if !status.is_server_error() {
                    return Err(why);
                }
                why
            }
            Err(error) => format!("{url}: {}", chain(&error.without_url())),
        };
        if Instant::now() >= deadline {
            return Err(why);
        }
        sleep(RETRY_INTERVAL).await;
    }
}

fn filled(body: &[(String, BodyValue)], values: &Values) -> Json {
    let value_of = |name: &str| Some(values.get(name).map(plain).unwrap_or_default());
    let pairs = body.iter().map(|(name, value)| match value {
        BodyValue::Text(template) => (name.clone(), template.fill(value_of).unwrap_or_default().into()),
        BodyValue::Json(value) => (name.clone(), value.clone()),
    });
    Json::Object(pairs.collect::<Map<String, Json>>())
}

/// Fills an address. Values are percent-encoded.
fn url(template: &Template, values: &Values) -> Result<Url, String> {
    let escaped = |name: &str| {
        let value = values.get(name).map(plain).unwrap_or_default();
        let escaped: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
        Some(escaped.replace('+', "%20"))
    };
    let text = template.fill(escaped).unwrap_or_default();
    http::address(&text).map_err(|bad| match bad {
        BadAddress::Credentials => {
            "an address in `serve` contains a user name or password; use `api_key_env`".to_owned()
        }
        BadAddress::Unusable(why) => format!("an address in `serve` cannot be used: {why}"),
    })
}

fn client(url: &Url) -> Result<Client, String> {
    let client = http::client(url).timeout(REQUEST_TIMEOUT).build();
    client.map_err(|error| format!("no HTTP client: {}", chain(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_escaped_in_addresses_and_bodies() {
        let mut values = Values::default();
        values.set("name", "a/../b?x=\"y\"");
        let to = url(&Template::parse("http://h/load/{name}").unwrap(), &values).unwrap();
        assert_eq!(to.as_str(), "http://h/load/a%2F..%2Fb%3Fx%3D%22y%22");
        let body = [
            (
                "n".to_owned(),
                BodyValue::Text(Template::parse("<{name}>").unwrap()),
            ),
            ("k".to_owned(), BodyValue::Json(json!(1))),
        ];
        assert_eq!(filled(&body, &values), json!({"n": "<a/../b?x=\"y\">", "k": 1}));
    }
}
