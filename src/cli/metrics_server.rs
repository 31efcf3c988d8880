//! `--metrics-addr`: the server of metrics and health, and the probes of the services that `/readyz` reports.

use super::alive_file;
use super::exit::Exit;
use super::flags::MonitorFlags;
use super::service_urls::Connected;
use super::ui;
use crate::broker::rabbitmq::RabbitMqBroker;
use crate::metrics::{Metrics, MetricsServer, Need, Service};
use crate::shutdown::Shutdown;
use crate::store::redis::RedisStore;
use std::fmt::Display;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// Interval between two probes of a service.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// Timeout of a probe. With the interval it stays below the 10 s in which `/readyz` promises to notice an outage.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// The metrics of the process, and their server if there is one.
pub(super) struct Monitor {
    pub(super) metrics: Arc<Metrics>,
    listener: Option<TcpListener>,
    server: Option<MetricsServer>,
    probes: Vec<AbortOnDropHandle<()>>,
    alive_file: Option<PathBuf>,
    /// Touches the file.
    alive: Option<AbortOnDropHandle<()>>,
}

impl Monitor {
    /// Binds the address, if one is given, before anything else is done. An error has been printed.
    pub(super) fn bind(flags: &MonitorFlags) -> Result<Monitor, Exit> {
        // An empty variable counts as unset.
        let address = flags.metrics_addr.as_deref();
        let listener = match address.filter(|address| !address.is_empty()) {
            None => None,
            Some(text) => Some(listen(text)?),
        };
        Ok(Monitor {
            metrics: Arc::new(Metrics::new()),
            listener,
            server: None,
            probes: Vec::new(),
            alive_file: flags
                .alive_file
                .clone()
                .filter(|path| !path.as_os_str().is_empty()),
            alive: None,
        })
    }

    /// Starts the server, if an address is bound, and touches the alive file, until this is dropped. The process is ready when it has all
    /// `needs`.
    pub(super) fn serve(&mut self, shutdown: &Shutdown, needs: &[Need]) -> Result<(), Exit> {
        for need in needs {
            match need {
                Need::Service(service) => self.metrics.needs(*service),
                Need::Coordinator | Need::Worker => self.metrics.health.needs(*need),
            }
        }
        if let Some(path) = self.alive_file.take() {
            self.alive = Some(alive_file::keep(&path, &self.metrics)?);
        }
        let Some(listener) = self.listener.take() else {
            return Ok(());
        };
        let served = MetricsServer::start(listener, Arc::clone(&self.metrics), shutdown.clone());
        let server = served.map_err(|error| {
            ui::error(format_args!("--metrics-addr: {error}"));
            Exit::Failed
        })?;
        let address = server.address();
        info!(%address, "metrics at http://{address}/metrics");
        self.server = Some(server);
        Ok(())
    }

    /// Probes the services from now on, if there is a server.
    pub(super) fn watch(&mut self, connected: &Connected) {
        if self.server.is_none() {
            return;
        }
        let (broker, store) = (connected.broker.clone(), Arc::clone(&connected.store));
        let metrics = [Arc::clone(&self.metrics), Arc::clone(&self.metrics)];
        let [of_broker, of_store] = metrics;
        let probes = [
            tokio::spawn(async move { probe_broker(&of_broker, &broker).await }),
            tokio::spawn(async move { probe_store(&of_store, &store).await }),
        ];
        self.probes = probes.map(AbortOnDropHandle::new).into();
    }
}

async fn probe_broker(metrics: &Metrics, broker: &RabbitMqBroker) {
    loop {
        metrics.service_answered(Service::RabbitMq, answer(broker.probe()).await);
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

async fn probe_store(metrics: &Metrics, store: &RedisStore) {
    loop {
        metrics.service_answered(Service::Redis, answer(store.probe()).await);
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

/// Runs a probe with a timeout. The errors of broker and store contain no password.
async fn answer<E: Display>(asked: impl Future<Output = Result<(), E>>) -> Result<(), String> {
    match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
    }
}

fn listen(text: &str) -> Result<TcpListener, Exit> {
    let Some(address) = address(text) else {
        ui::error(format_args!(
            "--metrics-addr {text:?} is no address: use a port (9464 is 127.0.0.1:9464), or HOST:PORT such as 0.0.0.0:9464, \
             [::1]:9464 or localhost:9464"
        ));
        return Err(Exit::Usage);
    };
    TcpListener::bind(&address).map_err(|error| {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; another process listens there: choose another port, or 0 for a free one"
            }
            _ => "",
        };
        ui::error(format_args!(
            "--metrics-addr: cannot listen on {address}: {error}{advice}"
        ));
        Exit::Failed
    })
}

/// Completes `[HOST:]PORT` with the default host. `None` if it is no address.
fn address(text: &str) -> Option<String> {
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let is_host = match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')),
    };
    match (is_host && is_port(port), host) {
        (false, _) => None,
        (true, "") => Some(format!("127.0.0.1:{port}")),
        (true, _) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn address_defaults_to_host_127_0_0_1() {
        for (text, meant) in [
            ("9464", "127.0.0.1:9464"),
            (":9464", "127.0.0.1:9464"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:9464", "0.0.0.0:9464"),
            ("[::]:9464", "[::]:9464"),
            ("[fe80::1]:1", "[fe80::1]:1"),
            ("localhost:9464", "localhost:9464"),
            ("metrics-1.example.org:80", "metrics-1.example.org:80"),
        ] {
            assert_eq!(address(text).as_deref(), Some(meant), "{text}");
        }
    }

    #[test]
    fn address_rejects_malformed_text() {
        for text in [
            "",
            ":",
            "localhost",
            "localhost:",
            "1:2:3",
            "::1",
            "::1:80",
            "[::1]",
            "[::1:80",
            "[x]:80",
            "a:65536",
            "65536",
            "a:-1",
            "a:+1",
            "+80",
            "http://a:80",
            "a b:80",
            "a:80/metrics",
        ] {
            assert_eq!(address(text), None, "{text:?}");
        }
    }
}
