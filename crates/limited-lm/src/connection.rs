//! One connection, which serves its requests one after the other.

use crate::http::HttpRequest;
use crate::shared::{ReplySending, SharedServer};
use std::future::pending;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

/// Serves the requests of a connection until either end closes it.
pub(crate) async fn talk(shared: &SharedServer, mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = Vec::with_capacity(8192);
    loop {
        let request = tokio::select! {
            request = HttpRequest::read(&mut stream, &mut buffer) => request?,
            () = shared.until_cut() => return Ok(()),
        };
        let Some(request) = request else {
            return Ok(());
        };
        let sending = tokio::select! {
            sending = shared.reply(&request) => sending,
            () = until_gone(&stream) => return Ok(()),
            () = shared.until_cut() => return Ok(()),
        };
        match sending {
            ReplySending::Whole(reply) => stream.write_all(&reply.to_bytes()).await?,
            ReplySending::Half(reply) => {
                let bytes = reply.to_bytes();
                return stream
                    .write_all(&bytes[..bytes.len() - reply.body.len() / 2])
                    .await;
            }
        }
    }
}

/// Returns when the client has closed its end.
async fn until_gone(stream: &TcpStream) {
    match stream.peek(&mut [0]).await {
        Ok(0) | Err(_) => {}
        // The client has sent its next request, so it is still connected.
        Ok(_) => pending().await,
    }
}
