//! Advice on TLS errors that retrying does not fix, for broker and store.

use rustls::{AlertDescription, Error};
use std::io;

/// What to check, or `None` if the error is not from TLS or may pass.
pub(crate) fn advice(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(AlertDescription::CertificateRequired) => Some(
            "bsft has no client certificate: configure the server not to require one (Redis: tls-auth-clients no, \
             RabbitMQ: ssl_options.fail_if_no_peer_cert = false), and put a user and a password into the URL",
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::InvalidCertificate(_)
        | Error::InvalidMessage(_)
        | Error::PeerIncompatible(_) => Some(
            "check that the port uses TLS, that its certificate is for this host, and that the certificate's \
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
    fn advice_is_given_for_permanent_tls_errors_only() {
        let advice = |error: Error| advice(&io::Error::new(io::ErrorKind::InvalidData, error));
        for (error, expected) in [
            (
                Error::InvalidCertificate(CertificateError::Expired),
                "SSL_CERT_FILE",
            ),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "uses TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "tls-auth-clients",
            ),
        ] {
            assert!(
                advice(error).is_some_and(|advice| advice.contains(expected)),
                "{expected}"
            );
        }
        assert_eq!(
            advice(Error::AlertReceived(AlertDescription::InternalError)),
            None
        );
        assert_eq!(super::advice(&io::ErrorKind::ConnectionReset.into()), None);
    }
}
