//! The broker's address: the URL is parsed once, and printed without its password.

use super::error_conversion::AmqpFault;
use crate::broker::BrokerError;
use crate::service_url::{
    CUT_PASSWORD, HIDDEN, ServiceUrl, clear_text_to, has_cut_password, is_plain, shown_user,
};
use lapin::uri::{AMQPScheme, AMQPUri};
use url::Url;

/// A silent peer counts as dead after two heartbeats; shorter intervals raise false alarms under load.
const HEARTBEAT_SECS: u16 = 10;

/// Replaces a URL that cannot be parsed, whose password could be anywhere in it.
const UNREADABLE: &str = "(a URL that cannot be read)";

/// Schemes that an error may name: those of other services. Any other may be a part of the password.
const OTHER_SCHEMES: [&str; 5] = ["http", "https", "redis", "rediss", "mqtt"];

#[derive(Clone)]
pub(super) struct AmqpAddress {
    uri: AMQPUri,
    /// The user, as messages contain it.
    user: String,
    /// The vhost, as messages contain it.
    vhost: String,
    url: ServiceUrl,
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
            let other = OTHER_SCHEMES.iter().find(|scheme| **scheme == url.scheme());
            return Err(unreadable(match other {
                Some(scheme) => format!("its scheme is {scheme:?}"),
                None => "its scheme is another one".to_owned(),
            }));
        }
        if has_cut_password(&url) {
            return Err(unreadable(CUT_PASSWORD.to_owned()));
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return Err(unreadable("it has no host".to_owned()));
        };
        // The parser's message may contain any part of the URL.
        let mut uri: AMQPUri = text
            .parse()
            .map_err(|_: String| unreadable("the parser refuses a part of it".to_owned()))?;
        // `AMQPUri` parses an IPv6 address as no host, and a lone `/` as a vhost with an empty name.
        host.trim_matches(['[', ']']).clone_into(&mut uri.authority.host);
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECS);
        let (user, has_path) = match (url.username(), shown_user(&url)) {
            ("", _) => (uri.authority.userinfo.username.as_str(), false),
            (_, Some(user)) => (user, is_plain(uri.vhost.trim_start_matches('/'))),
            (_, None) => (HIDDEN, false),
        };
        let vhost = if uri.vhost == "/" || has_path {
            uri.vhost.as_str()
        } else {
            HIDDEN
        };
        let shown = format!(
            "{}://{user}@{host}:{}/{}",
            uri.scheme,
            uri.authority.port,
            if vhost == "/" { "%2f" } else { vhost },
        );
        let clear_text_to = match uri.scheme {
            AMQPScheme::AMQP => clear_text_to(&url),
            AMQPScheme::AMQPS => None,
        };
        Ok(AmqpAddress {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            url: ServiceUrl { shown, clear_text_to },
            uri,
        })
    }

    /// What messages contain of it.
    pub(super) fn into_url(self) -> ServiceUrl {
        self.url
    }

    pub(super) fn uri(&self) -> &AMQPUri {
        &self.uri
    }

    /// For messages.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// For messages.
    pub(super) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Adds the address to a fault.
    pub(super) fn error(&self, fault: AmqpFault) -> BrokerError {
        let url = self.url.shown.clone();
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
        AmqpAddress::parse(text).unwrap().url.shown
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
        assert_eq!(redacted("amqp://[::1]:5673"), "amqp://guest@[::1]:5673/%2f");
    }

    #[test]
    fn printed_url_hides_what_may_be_the_password() {
        for (slip, shown) in [
            ("amqp://secret@host/x", "amqp://…@host:5672/…"),
            ("amqp://host/:secret", "amqp://guest@host:5672/…"),
            ("amqp://host/secret", "amqp://guest@host:5672/…"),
            ("amqp://me%3Asecret:x@host/v", "amqp://…@host:5672/…"),
        ] {
            assert_eq!(redacted(slip), shown, "{slip}");
            let address = AmqpAddress::parse(slip).unwrap();
            assert!(!address.user().contains("secret") && !address.vhost().contains("secret"));
        }
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
            ("me:secret@host", "its scheme is another one"),
            ("http://me:secret@host", "its scheme is \"http\""),
            ("amqp://", "it has no host"),
            (
                "amqp://me:secret@host:port",
                "it is not a URL: invalid port number",
            ),
            ("amqp://me:secret@host?heartbeat=soon", "refuses a part"),
            ("amqp://me@host?auth_mechanism=secret", "refuses a part"),
            ("amqp://me:12#secret@host", "it has a #, or an @ after the host"),
            ("amqp://me:12/secret@host", "it has a #, or an @ after the host"),
            ("amqp://me:12?secret@host", "it has a #, or an @ after the host"),
            ("amqp://me:x@secret/y@host", "it has a #, or an @ after the host"),
            ("secret://me@host", "its scheme is another one"),
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
