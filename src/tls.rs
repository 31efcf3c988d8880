//! What TLS does not like and no waiting mends, for queue and store alike.

use rustls::{AlertDescription, Error};
use std::io;

/// What to check when a connection failed for good; `None`: TLS has nothing to do with it, or it may pass.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(AlertDescription::CertificateRequired) => Some(
            "we have no certificate to show: let the server ask for none (Redis: tls-auth-clients no, RabbitMQ: \
             ssl_options.fail_if_no_peer_cert = false), and let a user and a password in the URL say who we are",
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::InvalidCertificate(_)
        | Error::InvalidMessage(_)
        | Error::PeerIncompatible(_) => Some(
            "check that the port speaks TLS, that its certificate is for this host, and that the certificate's \
             authority is trusted here (SSL_CERT_FILE names a file of authorities)",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, InvalidMessage};

    #[test]
    fn what_passes_is_told_from_what_a_human_has_to_change() {
        let advice = |error: Error| advice(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, word) in [
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "SSL_CERT_FILE",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "speaks TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "tls-auth-clients",
            ),
        ] {
            assert!(
                advice(error).is_some_and(|advice| advice.contains(word)),
                "{word}"
            );
        }
        assert_eq!(
            advice(Error::AlertReceived(AlertDescription::InternalError)),
            None
        );
        assert_eq!(super::advice(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
