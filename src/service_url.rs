//! The URLs of services: what messages may contain of one, and whether the network sees its password.
//!
//! A slip puts a password into any part of a URL. So parts are shown only where their form is that of what belongs there.

use std::net::IpAddr;
use url::{Host, Url};

/// Stands for a part that may be a password.
pub(crate) const HIDDEN: &str = "…";

/// What to do about a URL with a cut password.
pub(crate) const CUT_PASSWORD: &str =
    "it has a #, or an @ after the host; in a password write %2F for /, %3F for ?, %23 for # and %40 for @";

/// A URL that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// The URL as messages contain it.
    pub shown: String,
    /// The other machine to which the password goes in clear text. `None` if it is encrypted, stays here, or does not exist.
    pub clear_text_to: Option<String>,
}

/// The user's name. `None` if there is none, or if it may be a password: a name without a password often is one.
pub(crate) fn shown_user(url: &Url) -> Option<&str> {
    let has_password = url.password().is_some_and(|password| !password.is_empty());
    Some(url.username()).filter(|user| has_password && is_plain(user))
}

/// Whether a part of the password may stand after the host: a `/`, `?` or `#` in it ends what counts as user, password and host.
pub(crate) fn has_cut_password(url: &Url) -> bool {
    let after_host = url.path().contains('@') || url.query().is_some_and(|query| query.contains('@'));
    after_host || url.fragment().is_some()
}

/// Whether the text has the form of a name.
pub(crate) fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(is_plain)
}

/// The host that gets the URL's password over a connection without TLS, unless it is this machine.
pub(crate) fn clear_text_to(url: &Url) -> Option<String> {
    url.password().filter(|password| !password.is_empty())?;
    let host = url.host()?;
    (!is_loopback(&host)).then(|| host.to_string())
}

/// Whether the host is this machine. The parser leaves addresses in the URLs of unknown schemes as they are.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            let is_address = |address: IpAddr| address.is_loopback();
            name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_address)
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// The text with `…` for the users and passwords of all URLs in it that have a password, also of broken ones.
pub(crate) fn without_passwords(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        safe.push_str(before);
        safe.push_str("://");
        let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let end = after.find(ends).unwrap_or(after.len());
        rest = after;
        if let Some(at) = after[..end].rfind('@')
            && after[..at].contains(':')
        {
            safe.push_str(HIDDEN);
            rest = &after[at..];
        }
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clear_text(url: &str) -> Option<String> {
        clear_text_to(&Url::parse(url).unwrap())
    }

    #[test]
    fn clear_text_to_names_another_machine_that_gets_a_password() {
        for (url, host) in [
            ("amqp://u:p@rabbit.example/v", Some("rabbit.example")),
            ("redis://:p@10.0.0.7:6379", Some("10.0.0.7")),
            ("redis://:p@[fd00::1]", Some("[fd00::1]")),
            ("redis://u:p@127.0.0.1", None),
            ("redis://u:p@127.8.0.1", None),
            ("amqp://u:p@LocalHost.", None),
            ("amqp://u:p@[::1]:5672", None),
            ("amqp://u@rabbit.example", None),
            ("amqp://rabbit.example", None),
        ] {
            assert_eq!(clear_text(url).as_deref(), host, "{url}");
        }
    }

    #[test]
    fn without_passwords_keeps_all_but_credentials() {
        for (text, safe) in [
            ("no URL: a@b", "no URL: a@b"),
            (
                "redis://worker@db.example and http://h/v1",
                "redis://worker@db.example and http://h/v1",
            ),
            (
                "\"amqp://me:12/s#s@host/v\" or redis://:p@h",
                "\"amqp://…@host/v\" or redis://…@h",
            ),
            ("amqp://me:pw@host holds no run", "amqp://…@host holds no run"),
        ] {
            assert_eq!(without_passwords(text), safe);
        }
    }
}
