//! The store's address: parses the URL, and prints it without its password.

use crate::store::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

#[derive(Clone)]
pub(super) struct RedisAddress {
    /// The URL without its password.
    pub(super) place: String,
    pub(super) info: ConnectionInfo,
}

impl std::fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.place)
    }
}

impl RedisAddress {
    /// Parses `redis://` (plain) or `rediss://` (TLS), `user:password@`, host, port, database number.
    pub(super) fn parse(url: &str) -> Result<RedisAddress, StoreError> {
        // A text that is not a URL may contain a password anywhere, so none of it is printed.
        let unreadable = || misconfigured("the URL given", FORM.to_owned());
        let read = url::Url::parse(url).map_err(|_| unreadable())?;
        if !matches!(read.scheme(), "redis" | "rediss") || read.host().is_none() {
            return Err(unreadable());
        }
        let place = redacted(&read);
        let database = read.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err(misconfigured(
                &place,
                format!("{database:?} is not a database number; {FORM}"),
            ));
        }
        let info = url
            .into_connection_info()
            .map_err(|e| misconfigured(&place, format!("{e}; {FORM}")))?;
        // Without it the kernel delays a small command until the previous one is acknowledged.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(RedisAddress { place, info })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.place.starts_with("rediss:")
    }
}

const FORM: &str = "write redis://[user:password@]host[:port][/database], or rediss:// for TLS; a password's special \
                    characters are written as %XX";

fn misconfigured(place: &str, message: String) -> StoreError {
    StoreError::Misconfigured {
        place: place.to_owned(),
        message,
    }
}

fn redacted(url: &url::Url) -> String {
    let mut redacted = url.clone();
    // Both fail only for URLs without a host, and this one has a host.
    let _ = redacted.set_password(None);
    redacted.set_query(None);
    redacted.set_fragment(None);
    redacted.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_the_url_without_its_password() {
        for (url, place) in [
            ("redis://127.0.0.1:6380", "redis://127.0.0.1:6380"),
            (
                "redis://worker:hunter2@db.example/3",
                "redis://worker@db.example/3",
            ),
            ("rediss://:hunter2@db.example", "rediss://db.example"),
            ("redis://db.example/0?password=hunter2", "redis://db.example/0"),
        ] {
            let address = RedisAddress::parse(url).unwrap();
            assert_eq!(address.place, place);
            assert!(!format!("{address:?}").contains("hunter2"));
        }
    }

    #[test]
    fn parse_error_omits_the_password() {
        for url in [
            "",
            "hunter2",
            "redis:/hunter2@host",
            "amqp://a:hunter2@host",
            "redis://a:hunter2@host/notes",
            "redis://a:hunter2@host:notaport",
            "redis://a:hunter2@0.0.0.0",
        ] {
            let error = RedisAddress::parse(url).unwrap_err();
            assert!(
                matches!(error, StoreError::Misconfigured { .. }),
                "{url}: {error}"
            );
            let text = format!("{error} {error:?}");
            assert!(!text.contains("hunter2") && text.contains("redis://"), "{text}");
        }
    }
}
