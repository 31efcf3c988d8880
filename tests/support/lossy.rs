//! A connection on which answers get lost: the server does what it is told, and nobody hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on to a port of this machine until told to lose an answer.
pub(crate) struct Lossy {
    port: u16,
    lose: Arc<AtomicBool>,
}

impl Lossy {
    pub(crate) async fn before(server: u16) -> Lossy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lose = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&lose);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, Arc::clone(&asked)));
            }
        });
        Lossy { port, lose }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Loses the next answer, and the connection that it should come by.
    pub(crate) fn lose_an_answer(&self) {
        self.lose.store(true, Ordering::SeqCst);
    }

    /// Whether that has happened.
    pub(crate) fn has_lost_it(&self) -> bool {
        !self.lose.load(Ordering::SeqCst)
    }
}

async fn pass(mut client: TcpStream, server: u16, lose: Arc<AtomicBool>) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut request, mut answer) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut request) => match read {
                Ok(0) | Err(_) => return,
                Ok(n) => server.write_all(&request[..n]).await.unwrap(),
            },
            read = server.read(&mut answer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if lose.swap(false, Ordering::SeqCst) => return,
                Ok(n) => client.write_all(&answer[..n]).await.unwrap(),
            },
        }
    }
}
