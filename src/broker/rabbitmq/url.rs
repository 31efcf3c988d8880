//! The broker's address: the URL is parsed once, and printed without its password.

use super::error_conversion::AmqpFault;
use crate::broker::BrokerError;
use lapin::uri::AMQPUri;
use url::Url;

/// A silent peer counts as dead after two heartbeats; shorter intervals raise false alarms under load.
const HEARTBEAT_SECS: u16 = 10;

/// Replaces a URL that cannot be parsed, whose password could be anywhere in it.
const UNREADABLE: &str = "(a URL that cannot be read)";

#[derive(Clone)]
pub(super) struct AmqpAddress {
    uri: AMQPUri,
    redacted: String,
}

impl AmqpAddress {
    /// Parses `amqp://user:password@host:port/vhost` or `amqps://…`. No path and `/` both mean the default
    /// vhost.
    pub(super) fn parse(text: &str) -> Result<AmqpAddress, BrokerError> {
        let unreadable = |reason: String| BrokerError::Refused {
            url: UNREADABLE.to_owned(),
            message: format!("{reason}; write amqp://user:password@host:5672/vhost, or amqps:// for TLS"),
        };
        let url = Url::parse(text).map_err(|e| unreadable(format!("it is not a URL: {e}")))?;
        if !matches!(url.scheme(), "amqp" | "amqps") {
            return Err(unreadable(format!("its scheme is {:?}", url.scheme())));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(unreadable("it has no host".to_owned()));
        };
        let mut uri: AMQPUri = text.parse().map_err(unreadable)?;
        // `AMQPUri` parses an IPv6 address as no host, and a lone `/` as a vhost with an empty name.
        host.trim_matches(['[', ']']).clone_into(&mut uri.authority.host);
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
        let redacted = format!(
            "{}://{}@{}:{}/{}",
            uri.scheme,
            uri.authority.userinfo.username,
            host,
            uri.authority.port,
            if uri.vhost == "/" { "%2f" } else { &uri.vhost },
        );
        Ok(AmqpAddress { uri, redacted })
    }

    pub(super) fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    pub(super) fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Adds the address to a fault.
    pub(super) fn error(&self, fault: AmqpFault) -> BrokerError {
        let url = self.redacted.clone();
        match fault {
            AmqpFault::Closed => BrokerError::Closed,
            AmqpFault::Unreachable(message) => BrokerError::Unreachable { url, message },
            AmqpFault::Refused(message) => BrokerError::Refused { url, message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str) -> String {
        AmqpAddress::parse(text).unwrap().redacted
    }

    #[test]
    fn printed_url_has_everything_but_the_password() {
        assert_eq!(
            redacted("amqp://me:secret@example.org"),
            "amqp://me@example.org:5672/%2f"
        );
        assert_eq!(
            redacted("amqps://me:secret@example.org/prod"),
            "amqps://me@example.org:5671/prod"
        );
        assert_eq!(redacted("amqp://[::1]:5673/x"), "amqp://guest@[::1]:5673/x");
    }

    #[test]
    fn ipv6_address_is_parsed_as_host() {
        let address = AmqpAddress::parse("amqp://[::1]:5673/x").unwrap();
        assert_eq!(address.uri().authority.host, "::1");
    }

    #[test]
    fn default_vhost_has_three_spellings() {
        for text in ["amqp://h", "amqp://h/", "amqp://h/%2f"] {
            assert_eq!(AmqpAddress::parse(text).unwrap().vhost(), "/", "{text}");
        }
    }

    #[test]
    fn heartbeat_in_url_overrides_the_default() {
        let heartbeat = |text: &str| AmqpAddress::parse(text).unwrap().uri().query.heartbeat;
        assert_eq!(heartbeat("amqp://h"), Some(HEARTBEAT_SECS));
        assert_eq!(heartbeat("amqp://h?heartbeat=30"), Some(30));
    }

    #[test]
    fn parse_error_of_url_omits_the_password() {
        for (text, reason) in [
            ("", "it is not a URL"),
            ("me:secret@host", "scheme"),
            ("http://me:secret@host", "its scheme is \"http\""),
            ("amqp://", "it has no host"),
            (
                "amqp://me:secret@host:port",
                "it is not a URL: invalid port number",
            ),
            ("amqp://me:secret@host?heartbeat=soon", "invalid digit"),
        ] {
            let Err(e) = AmqpAddress::parse(text) else {
                panic!("{text} was read")
            };
            assert!(matches!(e, BrokerError::Refused { .. }));
            let message = e.to_string();
            assert!(message.contains(reason), "{message}");
            assert!(
                message.contains("amqp://user:password@host:5672/vhost"),
                "{message}"
            );
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
