//! Ports on which nothing listens until a test's own server does.

use tokio::net::TcpSocket;

/// A port of this machine that is bound and not listened on: connections are refused, and no other process is given the port. A
/// server of the test that sets `SO_REUSEADDR`, as servers do, can listen on it all the same, and come and go.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    socket: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> ReservedPort {
        ReservedPort::at(0).unwrap()
    }

    /// That port; `None` if it is in use.
    pub(crate) fn at(number: u16) -> Option<ReservedPort> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], number).into()).ok()?;
        Some(ReservedPort { socket })
    }

    pub(crate) fn number(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}
