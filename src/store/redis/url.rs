//! The store's address: parses the URL, and prints it without its password.

use crate::service_url::{CUT_PASSWORD, ServiceUrl, clear_text_to, has_cut_password, shown_user};
use crate::store::StoreError;
use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo};

#[derive(Clone)]
pub(super) struct RedisAddress {
    /// The URL as messages contain it.
    pub(super) place: String,
    /// The other machine to which the password goes in clear text.
    clear_text_to: Option<String>,
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
        let is_whole = !read.path().contains('@') && read.query().is_none();
        if is_whole && read.fragment() == Some("insecure") {
            return Err(misconfigured(
                &shown(&read, false),
                format!("it ends in #insecure, but certificates are always checked; {FORM}"),
            ));
        }
        if has_cut_password(&read) {
            return Err(misconfigured("the URL given", format!("{CUT_PASSWORD}; {FORM}")));
        }
        let database = read.path().trim_start_matches('/');
        let is_number = database.is_empty() || database.parse::<u16>().is_ok();
        let place = shown(&read, is_number);
        if !is_number {
            return Err(misconfigured(
                &place,
                format!("its path is not a database number; {FORM}"),
            ));
        }
        let info = url.into_connection_info().map_err(|error| {
            // The parser's message may contain what is in the query.
            let reason = match read.query() {
                Some(_) => "its `?` part cannot be used".to_owned(),
                None => error.to_string(),
            };
            misconfigured(&place, format!("{reason}; {FORM}"))
        })?;
        // Without it the kernel delays a small command until the previous one is acknowledged.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let clear_text_to = match read.scheme() {
            "redis" => clear_text_to(&read),
            _ => None,
        };
        Ok(RedisAddress {
            place,
            clear_text_to,
            info,
        })
    }

    /// What messages contain of it.
    pub(super) fn into_url(self) -> ServiceUrl {
        ServiceUrl {
            shown: self.place,
            clear_text_to: self.clear_text_to,
        }
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

/// The URL with the user, host, port and database only.
fn shown(url: &url::Url, has_database: bool) -> String {
    let mut shown = url.clone();
    // Both fail only for URLs without a host, and this one has a host.
    let _ = shown.set_password(None);
    let _ = shown.set_username(shown_user(url).unwrap_or_default());
    if !has_database {
        shown.set_path("");
    }
    shown.set_query(None);
    shown.set_fragment(None);
    shown.to_string()
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
            ("redis://hunter2@db.example/0", "redis://db.example/0"),
            ("redis://a%3Ahunter2:x@db.example/0", "redis://db.example/0"),
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
            "redis://host/:hunter2",
            "redis://host/hunter2",
            "redis://a:12/hunter2@host",
            "redis://a:12#hunter2@host",
            "redis://host?protocol=hunter2",
            "rediss://a:hunter2@host#insecure",
            "rediss://a@host/0#hunter2",
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
