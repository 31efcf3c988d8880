//! The server: a thread with its sockets.

use crate::behaviour::{OutageKind, ServerBehaviour};
use crate::connection::talk;
use crate::counts::ServedCounts;
use crate::shared::SharedServer;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// The length of the listener's backlog.
const BACKLOG: u32 = 4096;

/// A running server; it stops when dropped.
pub struct LimitedServer {
    address: SocketAddr,
    shared: Arc<SharedServer>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Keeps the port reserved while the server refuses connections.
    _reserved: TcpSocket,
}

impl LimitedServer {
    /// Serves on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot listen or start its thread.
    pub fn start(behaviour: ServerBehaviour) -> io::Result<LimitedServer> {
        LimitedServer::start_on(0, behaviour)
    }

    /// Serves on the port `port`; 0 for a free one.
    ///
    /// # Errors
    ///
    /// Returns an error if the server cannot listen or start its thread.
    pub fn start_on(port: u16, behaviour: ServerBehaviour) -> io::Result<LimitedServer> {
        let reserved = socket(([127, 0, 0, 1], port).into())?;
        let address = reserved.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let shared = Arc::new(SharedServer::new(behaviour.clone()));
        let listener = {
            let _context = runtime.enter();
            socket(address)?.listen(BACKLOG)?
        };
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("limited-lm".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(&serving, address, listener) => {}
                        () = serving.run_processor() => {}
                        () = serving.run_outage(&behaviour) => {}
                        // The server was dropped.
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(LimitedServer {
            address,
            shared,
            stop: Some(stop),
            thread: Some(thread),
            _reserved: reserved,
        })
    }

    /// The address for `api_base` in a job file.
    pub fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// The counters so far.
    pub fn counts(&self) -> ServedCounts {
        self.shared.account().counts.served()
    }

    /// Replaces the limits and faults of the account. Speed, saturation and outage stay as they are.
    pub fn change(&self, behaviour: ServerBehaviour) {
        self.shared.account().change(behaviour);
    }

    /// Starts an outage, which lasts until [`LimitedServer::end_outage`].
    pub fn start_outage(&self, how: OutageKind) {
        self.shared.breakdown.send_replace(Some(how));
    }

    /// Ends an outage.
    pub fn end_outage(&self) {
        self.shared.breakdown.send_replace(None);
    }
}

impl Drop for LimitedServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread's panic has been printed.
            let _ = thread.join();
        }
    }
}

/// A socket that is bound and not listening yet.
fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts connections, except while the server refuses them. Never returns.
async fn accept(shared: &Arc<SharedServer>, address: SocketAddr, listener: TcpListener) {
    let mut listener = Some(listener);
    let mut breakdown = shared.breakdown.subscribe();
    loop {
        let how = *breakdown.borrow_and_update();
        if how == Some(OutageKind::Refuse) {
            listener = None;
            // The sender lives as long as `shared`.
            let _ = breakdown.changed().await;
            continue;
        }
        let listening = match listener.take() {
            Some(listening) => listening,
            None => match socket(address).and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listening) => listening,
                Err(error) => panic!("cannot listen on {address} again: {error}"),
            },
        };
        tokio::select! {
            accepted = listening.accept() => match accepted {
                Ok(_) if how == Some(OutageKind::Reset) => shared.account().counts.reset(),
                Ok((stream, _)) => {
                    // A failure only raises the latency.
                    let _ = stream.set_nodelay(true);
                    let shared = Arc::clone(shared);
                    // The connection's error is ignored: the client has disconnected.
                    tokio::spawn(async move { drop(talk(&shared, stream).await) });
                }
                // No file descriptor is free until a connection ends.
                Err(_) => tokio::task::yield_now().await,
            },
            _ = breakdown.changed() => {}
        }
        listener = Some(listening);
    }
}
