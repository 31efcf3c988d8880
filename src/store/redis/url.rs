//! The store's address: what a user may write, and what of it may be shown.

use crate::store::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

/// Where the server is and who we are there.
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
    /// Reads `redis://` (plain) or `rediss://` (TLS), `user:password@`, host, port, database number.
    pub(super) fn parse(url: &str) -> Result<RedisAddress, StoreError> {
        // A text that is no URL may have a password anywhere: nothing of it is shown.
        let unreadable = || misconfigured("the URL given", FORM.to_owned());
        let read = url::Url::parse(url).map_err(|_| unreadable())?;
        if !matches!(read.scheme(), "redis" | "rediss") || read.host().is_none() {
            return Err(unreadable());
        }
        let place = shown(&read);
        let database = read.path().trim_start_matches('/');
        if !database.is_empty() && database.parse::<u16>().is_err() {
            return Err(misconfigured(
                &place,
                format!("{database:?} is no database number; {FORM}"),
            ));
        }
        let info = url
            .into_connection_info()
            .map_err(|e| misconfigured(&place, format!("{e}; {FORM}")))?;
        // Without it the kernel holds a small command back until the one before it was acknowledged.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        Ok(RedisAddress { place, info })
    }

    /// Whether the connection is by TLS.
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

fn shown(url: &url::Url) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, and ours has one.
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_the_url_without_its_password() {
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
    fn a_wrong_url_is_refused_and_its_password_not_shown() {
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
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter2") && told.contains("redis://"), "{told}");
        }
    }
}
