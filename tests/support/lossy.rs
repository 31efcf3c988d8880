//! A connection on which answers get lost: the server carries out a request, and its answer reaches no client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Forwards everything to a port of this machine until a test changes that.
pub(crate) struct Lossy {
    port: u16,
    ways: Arc<Ways>,
}

struct Ways {
    /// Where connections to come lead.
    server: AtomicU16,
    /// Whether the next answer gets lost.
    lose: AtomicBool,
    /// How often all connections fell mute: one that began before the last time is.
    silences: AtomicU64,
}

impl Lossy {
    pub(crate) async fn before(server: u16) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ways = Arc::new(Ways {
            server: server.into(),
            lose: false.into(),
            silences: 0.into(),
        });
        let theirs = Arc::clone(&ways);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, Arc::clone(&theirs)));
            }
        });
        Lossy { port, ways }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Loses the next answer, and the connection that it should come by.
    pub(crate) fn lose_an_answer(&self) {
        self.ways.lose.store(true, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub(crate) fn has_lost_it(&self) -> bool {
        !self.ways.lose.load(Ordering::SeqCst)
    }

    /// Connections stay open, and nothing gets through them any more; new ones are as they should be.
    pub(crate) fn fall_mute(&self) {
        self.ways.silences.fetch_add(1, Ordering::SeqCst);
    }

    /// New connections lead to another server.
    pub(crate) fn lead_to(&self, server: u16) {
        self.ways.server.store(server, Ordering::SeqCst);
    }
}

async fn pass(mut client: TcpStream, ways: Arc<Ways>) {
    let began = ways.silences.load(Ordering::SeqCst);
    let server = ways.server.load(Ordering::SeqCst);
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let (from_client, n) = tokio::select! {
            read = client.read(&mut request) => (true, read.unwrap_or(0)),
            read = server.read(&mut answer) => (false, read.unwrap_or(0)),
        };
        if n == 0 {
            return;
        }
        if ways.silences.load(Ordering::SeqCst) > began {
            continue;
        }
        let passed = if from_client {
            server.write_all(&request[..n]).await
        } else if ways.lose.swap(false, Ordering::SeqCst) {
            return;
        } else {
            client.write_all(&answer[..n]).await
        };
        if passed.is_err() {
            return;
        }
    }
}
