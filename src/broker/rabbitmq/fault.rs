//! What went wrong with the broker: what may pass is told from what a human has to change.

use std::time::Duration;

/// The longest that the broker may take to answer one request; a busy one takes seconds when it starts or elects a leader.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// Why something failed, without the address.
#[derive(Clone, Debug)]
pub(super) enum AmqpFault {
    /// The queue was closed by us.
    Closed,
    /// It may pass.
    Unreachable(String),
    /// It will not pass by itself.
    Refused(String),
}

impl AmqpFault {
    /// What failed, and the library's or the broker's words for it.
    pub(super) fn new(doing: &str, error: &lapin::Error) -> AmqpFault {
        let message = format!("failed to {doing}: {}", words(error));
        match reply_code(error) {
            Some(REFUSED | NOT_ALLOWED | PRECONDITION | NOT_IMPLEMENTED) => AmqpFault::Refused(message),
            _ => AmqpFault::Unreachable(message),
        }
    }

    /// The same with a line on what to check.
    pub(super) fn hint(self, hint: &str) -> AmqpFault {
        match self {
            AmqpFault::Closed => AmqpFault::Closed,
            AmqpFault::Unreachable(message) => AmqpFault::Unreachable(format!("{message}; {hint}")),
            AmqpFault::Refused(message) => AmqpFault::Refused(format!("{message}; {hint}")),
        }
    }

    /// Its text.
    pub(super) fn message(&self) -> &str {
        match self {
            AmqpFault::Closed => "closed",
            AmqpFault::Unreachable(message) | AmqpFault::Refused(message) => message,
        }
    }
}

/// `access-refused`: wrong password, missing permission.
pub(super) const REFUSED: u16 = 403;
/// `not-found`: no such queue.
pub(super) const NOT_FOUND: u16 = 404;
/// `precondition-failed`: a queue declared otherwise, a message that is too large.
pub(super) const PRECONDITION: u16 = 406;
/// `not-allowed`: no such vhost, or not for this user.
pub(super) const NOT_ALLOWED: u16 = 530;
/// `not-implemented`: the broker is too old or too new for what was asked.
const NOT_IMPLEMENTED: u16 = 540;

/// The broker's code, when the error is the broker's.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

fn words(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        lapin::ErrorKind::IOError(error) => error.to_string(),
        lapin::ErrorKind::ParsingError(_) => "the answer is not AMQP".to_owned(),
        _ => error.to_string(),
    }
}
