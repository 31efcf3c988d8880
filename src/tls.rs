//! What TLS errors mean and what to do about them, for broker, store and HTTP clients; and the trusted authorities that the environment
//! names.

use crate::error_causes::causes;
use crate::system_error;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use std::env::{split_paths, var_os};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The variable that names a file of trusted authorities.
const FILE: &str = "SSL_CERT_FILE";

/// The variable that names folders of trusted authorities.
const FOLDERS: &str = "SSL_CERT_DIR";

/// The most names of a certificate that a message shows.
const SHOWN_NAMES: usize = 5;

/// What is wrong and what to do, for an I/O error of a connection. `None` if the error is not from TLS or may pass.
pub(crate) fn advice(error: &io::Error) -> Option<String> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<Error>())
        .and_then(explained)
}

/// What is wrong and what to do. `None` if the error may pass.
pub(crate) fn explained(error: &Error) -> Option<String> {
    match error {
        Error::AlertReceived(AlertDescription::CertificateRequired) => Some(
            "bsft has no client certificate: configure the server not to require one (Redis: tls-auth-clients no, \
             RabbitMQ: ssl_options.fail_if_no_peer_cert = false), and put a user and a password into the URL"
                .to_owned(),
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion)
        | Error::PeerIncompatible(_) => Some(
            "the server has no version or cipher of TLS in common with bsft: let it use TLS 1.2 or 1.3".to_owned(),
        ),
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            Some("the server does not know its host name in the address: correct the host".to_owned())
        }
        Error::InvalidMessage(_) => Some(
            "the answer is not TLS: check that the port uses TLS, or write the address without it (http://, amqp://, redis://)"
                .to_owned(),
        ),
        Error::InvalidCertificate(error) => Some(of_certificate(error)),
        _ => None,
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the server's certificate is from an authority that is not trusted here: put the authority's certificate into the file \
             that {FILE} names"
        ),
        CertificateError::Expired => "the server's certificate has expired: renew it".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = Duration::from_secs(time.as_secs().saturating_sub(not_after.as_secs()));
            format!(
                "the server's certificate expired {} days ago: renew it, or correct the clock of this machine",
                ago.as_secs() / 86_400
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: correct the clock of this machine, or the certificate".to_owned()
        }
        CertificateError::NotValidForName => {
            "the server's certificate is for another host: correct the host in the address, or the certificate".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let shown: Vec<&str> = presented.iter().take(SHOWN_NAMES).map(|name| bare(name)).collect();
            let names = match (shown.len(), presented.len()) {
                (0, _) => "no host (it has no subjectAltName)".to_owned(),
                (shown_names, all) if shown_names < all => format!("{} and others", shown.join(", ")),
                _ => shown.join(", "),
            };
            format!(
                "the server's certificate is for {names}, not for {}: use a host that it names, or make one with that subjectAltName",
                expected.to_str()
            )
        }
        CertificateError::Revoked => {
            "the server's certificate is revoked: give the server another one".to_owned()
        }
        CertificateError::Other(OtherError(error)) => of_kind(&format!("{error:?}")),
        error => of_kind(&error.to_string()),
    }
}

/// The name in a text such as `DnsName("lm.example")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

/// Errors whose types belong to other crates, by their names there.
fn of_kind(name: &str) -> String {
    match name {
        "CaUsedAsEndEntity" => "the server's certificate is one for an authority (CA:TRUE), which bsft takes from no server: make \
             one with basicConstraints = CA:FALSE, and name it or its authority in SSL_CERT_FILE"
            .to_owned(),
        "UnsupportedCertVersion" => {
            "the server's certificate has an old version of X.509: make one of version 3, with a subjectAltName"
                .to_owned()
        }
        "EkuError" => "the server's certificate is not one for servers: make one with extendedKeyUsage = serverAuth".to_owned(),
        name => format!("the server's certificate is refused ({name}): give the server another one"),
    }
}

/// What is wrong with the trusted authorities that the environment names, one text for each file or folder.
pub(crate) fn trust_problems() -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(file) = var_os(FILE)
        && let Err(why) = has_certificate(Path::new(&file))
    {
        problems.push(format!("{FILE} names {:?}, {why}", Path::new(&file)));
    }
    let folders = var_os(FOLDERS).unwrap_or_default();
    for folder in split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty()) {
        if let Err(error) = fs::read_dir(&folder) {
            let why = system_error::explained(&error);
            problems.push(format!("{FOLDERS} names {folder:?}, which cannot be read: {why}"));
        }
    }
    problems
}

/// Whether the file has a certificate; the error completes "the file NAME, …".
fn has_certificate(file: &Path) -> Result<(), String> {
    let unreadable = |error: &io::Error| format!("which cannot be read: {}", system_error::explained(error));
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| match error {
        pem::Error::Io(error) => unreadable(&error),
        error => format!("which is no file of certificates: {error}"),
    })?;
    for certificate in certificates {
        match certificate {
            Ok(_) => return Ok(()),
            Err(pem::Error::Io(error)) => return Err(unreadable(&error)),
            Err(_) => {}
        }
    }
    Err("which has no certificate in PEM format".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::InvalidMessage;
    use rustls::pki_types::{ServerName, UnixTime};
    use std::sync::Arc;

    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("as the verifier prints it")
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    fn advice(error: Error) -> Option<String> {
        super::advice(&io::Error::new(io::ErrorKind::InvalidData, error))
    }

    #[test]
    fn advice_names_cause_and_remedy_of_permanent_tls_errors() {
        let day = |day: u64| UnixTime::since_unix_epoch(Duration::from_secs(day * 86_400));
        let other = OtherError(Arc::new(CaUsedAsEndEntity));
        let host = ServerName::try_from("lm.example").expect("a name");
        let names = |names: &[&str]| CertificateError::NotValidForNameContext {
            expected: host.to_owned(),
            presented: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (error, expected) in [
            (
                CertificateError::UnknownIssuer.into(),
                "not trusted here: put the authority's certificate into the file that SSL_CERT_FILE names",
            ),
            (
                CertificateError::ExpiredContext {
                    time: day(12),
                    not_after: day(9),
                }
                .into(),
                "expired 3 days ago",
            ),
            (
                CertificateError::Other(other).into(),
                "basicConstraints = CA:FALSE",
            ),
            (
                names(&["DnsName(\"a\")", "IpAddress(::1)"]).into(),
                "is for a, ::1, not for lm.example",
            ),
            (names(&[]).into(), "no subjectAltName"),
            (names(&["a"; 6]).into(), "a, a, a, a, a and others"),
            (
                Error::InvalidMessage(InvalidMessage::InvalidContentType),
                "check that the port uses TLS",
            ),
            (
                Error::AlertReceived(AlertDescription::CertificateRequired),
                "tls-auth-clients",
            ),
        ] {
            let advice = advice(error).expect(expected);
            assert!(advice.contains(expected), "{advice}");
        }
    }

    #[test]
    fn advice_is_given_for_permanent_errors_of_tls_only() {
        assert_eq!(
            advice(Error::AlertReceived(AlertDescription::InternalError)),
            None
        );
        assert_eq!(super::advice(&io::ErrorKind::ConnectionReset.into()), None);
    }

    #[test]
    fn file_without_a_certificate_is_named_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("trusted.pem");
        let why = has_certificate(&file).expect_err("no file");
        assert!(why.starts_with("which cannot be read: No such file"), "{why}");
        for text in ["", "-----BEGIN CERTIFICATE-----\nAA", "not PEM"] {
            fs::write(&file, text).expect("written");
            let why = has_certificate(&file).expect_err(text);
            assert!(why.contains("no certificate in PEM"), "{why}");
        }
        fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .expect("written");
        assert_eq!(has_certificate(&file), Ok(()));
        let why = has_certificate(folder.path()).expect_err("a folder");
        assert!(why.contains("cannot be read"), "{why}");
    }
}
