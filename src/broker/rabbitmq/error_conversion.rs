//! Errors of the broker, divided into those that may pass and those that an operator has to fix.

use std::time::Duration;

/// The longest time for one request. A busy broker takes seconds when it starts or elects a leader.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A failure without the broker's address, which [`super::url::AmqpAddress::error`] adds.
#[derive(Clone, Debug)]
pub(super) enum AmqpFault {
    /// This process closed the broker.
    Closed,
    /// May pass without intervention.
    Unreachable(String),
    /// Needs an operator.
    Refused(String),
}

impl AmqpFault {
    /// `doing` completes "failed to …".
    pub(super) fn new(doing: &str, error: &lapin::Error) -> AmqpFault {
        let message = format!("failed to {doing}: {}", error_message(error));
        match reply_code(error) {
            Some(REFUSED | NOT_ALLOWED | PRECONDITION | NOT_IMPLEMENTED) => AmqpFault::Refused(message),
            _ => AmqpFault::Unreachable(message),
        }
    }

    /// Appends advice on what to check.
    pub(super) fn hint(self, hint: &str) -> AmqpFault {
        match self {
            AmqpFault::Closed => AmqpFault::Closed,
            AmqpFault::Unreachable(message) => AmqpFault::Unreachable(format!("{message}; {hint}")),
            AmqpFault::Refused(message) => AmqpFault::Refused(format!("{message}; {hint}")),
        }
    }

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
/// `precondition-failed`: a queue declared with other arguments, or a message that is too large.
pub(super) const PRECONDITION: u16 = 406;
/// `not-allowed`: no such vhost, or no access for this user.
pub(super) const NOT_ALLOWED: u16 = 530;
/// `not-implemented`: the broker is too old or too new for the request.
const NOT_IMPLEMENTED: u16 = 540;

/// The AMQP reply code, if the error came from the broker.
pub(super) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

fn error_message(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        lapin::ErrorKind::IOError(error) => error.to_string(),
        lapin::ErrorKind::ParsingError(_) => "the answer is not AMQP".to_owned(),
        _ => error.to_string(),
    }
}
