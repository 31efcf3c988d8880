//! Converts errors of the server or the connection into store errors: transient or permanent, with what to
//! change.

use super::url::RedisAddress;
use crate::store::StoreError;
use crate::{system_error, tls};
use redis::{ErrorKind, RedisError};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum RedisFault {
    /// An error of the connection or the server.
    Redis(RedisError),
    /// No answer within this time.
    Silent(Duration),
}

/// Error codes that older servers wrap into a message when a script fails.
const CODES: [&str; 14] = [
    "OOM",
    "READONLY",
    "MISCONF",
    "LOADING",
    "NOPERM",
    "NOAUTH",
    "WRONGTYPE",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "NOREPLICAS",
    "BUSY",
];

/// Messages, of older and newer servers, for a user who may run scripts but not a command in them.
const DENIED_IN_SCRIPT: [&str; 2] = ["The user executing the script", "ACL failure in script"];

/// Part of a script's error that has no code of its own: a script expects what bsft writes, and fails on anything else.
const IN_SCRIPT: &str = "user_script:";

/// Parts of a script's error about the server: it lacks a command, its cluster is down, or its operator ended the script.
const NOT_THE_DATA: [&str; 3] = ["nknown Redis command", "Script attempted", "Script killed"];

/// The redis crate's message, instead of a code, when the URL's database is refused.
const DATABASE_REFUSED: &str = "refused to switch database";

/// The redis crate's message, in an error of another kind, when no cluster node accepts the password.
const PASSWORD_REFUSED: &str = "Password authentication failed";

impl RedisFault {
    pub(super) fn is_unknown_script(&self) -> bool {
        matches!(self, RedisFault::Redis(e) if e.code() == Some("NOSCRIPT"))
    }

    /// Whether to reconnect: the connection is broken or silent, or leads to a server that is no longer the
    /// master.
    pub(super) fn wants_new_connection(&self) -> bool {
        match self {
            RedisFault::Silent(_) => true,
            RedisFault::Redis(e) => match e.kind() {
                ErrorKind::Server(_) | ErrorKind::Extension => {
                    matches!(code(e), Some("READONLY" | "MASTERDOWN" | "NOAUTH"))
                }
                _ => true,
            },
        }
    }

    /// As an error of the store at that address, whose user needs these permissions.
    pub(super) fn at(&self, address: &RedisAddress, needed: &str) -> StoreError {
        let place = address.place.clone();
        let error = match self {
            RedisFault::Redis(error) => error,
            RedisFault::Silent(waited) => {
                let message = format!(
                    "no answer within {} s; check that the server is there and not overloaded",
                    waited.as_secs()
                );
                return StoreError::Unreachable { place, message };
            }
        };
        let message = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(advice) = io_error(error).and_then(tls::advice) {
            let message = format!("{message}; {advice}");
            return StoreError::Misconfigured { place, message };
        }
        if let Some(remedy) = io_error(error).and_then(system_error::remedy_of_lack) {
            let message = format!("{message}; {remedy}");
            return StoreError::Unreachable { place, message };
        }
        if let Some(code) = code(error) {
            return of_server(code, place, message, needed);
        }
        match error.kind() {
            kind if kind == ErrorKind::AuthenticationFailed || message.contains(PASSWORD_REFUSED) => {
                StoreError::Refused {
                    place,
                    message: format!("{message}; check user and password in the URL"),
                }
            }
            ErrorKind::InvalidClientConfig => StoreError::Misconfigured { place, message },
            ErrorKind::Parse => StoreError::Unreachable {
                place,
                message: format!(
                    "{message}; check that host and port are a Redis server's, and whether it requires TLS (rediss://)"
                ),
            },
            _ if message.contains(DATABASE_REFUSED) => of_database(place, message, needed),
            ErrorKind::Server(_) | ErrorKind::Extension
                if DENIED_IN_SCRIPT.iter().any(|denied| message.contains(denied)) =>
            {
                refused(place, &message, needed)
            }
            ErrorKind::Server(_) | ErrorKind::Extension
                if message.contains(IN_SCRIPT) && !NOT_THE_DATA.iter().any(|part| message.contains(part)) =>
            {
                StoreError::ForeignData { place, message }
            }
            ErrorKind::Server(_) | ErrorKind::Extension => StoreError::Failed { place, message },
            _ if address.is_encrypted() => StoreError::Unreachable {
                place,
                message: format!(
                    "{message}; check host and port, that the server runs and uses TLS there (a plain port needs redis://), \
                     and SSL_CERT_FILE if it is set"
                ),
            },
            _ => StoreError::Unreachable {
                place,
                message: format!(
                    "{message}; check host and port, that the server runs, and whether it requires TLS (rediss://)"
                ),
            },
        }
    }
}

fn io_error(error: &RedisError) -> Option<&io::Error> {
    type Source = Arc<dyn Error + Send + Sync>;
    error.source()?.downcast_ref::<Source>()?.downcast_ref()
}

fn of_server(code: &str, place: String, message: String, needed: &str) -> StoreError {
    match code {
        "NOAUTH" => StoreError::Refused {
            place,
            message: format!("{message}; put user and password into the URL"),
        },
        "NOPERM" => refused(place, &message, needed),
        "WRONGTYPE" => StoreError::ForeignData { place, message },
        "MISCONF" => StoreError::Unreachable {
            place,
            message: format!(
                "{message}; the server cannot write to its disk and rejects writes until there is space"
            ),
        },
        "OOM" => StoreError::Unreachable {
            place,
            message: format!(
                "{message}; its memory is full until outcomes are taken to DIR; if this continues, raise maxmemory"
            ),
        },
        "READONLY" => StoreError::Unreachable {
            place,
            message: format!(
                "{message}; it is a replica now: wait for the failover, or use the master's address"
            ),
        },
        "MOVED" | "ASK" => StoreError::Unreachable {
            place,
            message: format!(
                "{message}; the cluster moves keys; if this continues, allow this user to run INFO, which detects a cluster"
            ),
        },
        _ => StoreError::Unreachable { place, message },
    }
}

/// Selecting the database is the first command, so a server that requires a password rejects it here.
fn of_database(place: String, message: String, needed: &str) -> StoreError {
    if message.contains("Authentication required") {
        return of_server("NOAUTH", place, message, needed);
    }
    StoreError::Misconfigured {
        place,
        message: format!("{message}; check the database number in the URL: a cluster has only 0"),
    }
}

fn refused(place: String, message: &str, needed: &str) -> StoreError {
    StoreError::Refused {
        place,
        message: format!("{message}; the user needs: {needed}"),
    }
}

/// The error code, also one that an older server wrapped because it occurred in a script.
fn code(error: &RedisError) -> Option<&'static str> {
    let plain = error.code()?;
    let known = |code: &&&'static str| **code == plain;
    CODES.iter().find(known).copied().or_else(|| {
        let detail = error.detail()?;
        let wrapped = |code: &&&'static str| detail.contains(&format!(": -{code} "));
        CODES.iter().find(wrapped).copied()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_action::ErrorAction;
    use crate::store::redis::StoreUser;

    fn error_of(reply: &str) -> StoreError {
        let error = redis::parse_redis_value(reply.as_bytes())
            .unwrap()
            .extract_error()
            .unwrap_err();
        RedisFault::Redis(error).at(
            &RedisAddress::parse("redis://u:hunter2@host").unwrap(),
            &StoreUser::Both.needed("bsft:team-a"),
        )
    }

    #[test]
    fn action_retries_transient_errors_and_halts_on_others() {
        for reply in [
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-ERR Error running script (call to f_1): @user_script:4: @user_script: 4: -OOM command not allowed\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-READONLY You can't write against a read only replica.\r\n",
            "-CLUSTERDOWN The cluster is down\r\n",
            "-MISCONF Errors writing to the AOF file: No space left on device\r\n",
            "-BUSY Redis is busy running a script.\r\n",
        ] {
            assert!(matches!(error_of(reply).action(), ErrorAction::Retry), "{reply}");
        }
        for reply in [
            "-NOAUTH Authentication required.\r\n",
            "-NOPERM this user has no permissions to run the 'xadd' command\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-ERR unknown command 'EVALSHA'\r\n",
        ] {
            assert_eq!(error_of(reply).action(), ErrorAction::Halt, "{reply}");
        }
    }

    #[test]
    fn script_that_fails_on_a_value_has_found_foreign_data() {
        for reply in [
            "-ERR value is not an integer or out of range script: f_1, on @user_script:3.\r\n",
            "-ERR user_script:12: attempt to compare nil with number script: f_1, on @user_script:12.\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: f_1, on @user_script:3.\r\n",
            "-ERR Error running script (call to f_1): @user_script:3: user_script:3: attempt to compare nil with number\r\n",
        ] {
            let error = error_of(reply);
            assert!(matches!(error, StoreError::ForeignData { .. }), "{error}");
        }
        for reply in [
            "-ERR Unknown Redis command called from script script: f_1, on @user_script:3.\r\n",
            "-ERR Script attempted to access a non local key in a cluster node script: f_1, on @user_script:3.\r\n",
            "-ERR Error running script (call to f_1): @user_script:3: Script killed by user with SCRIPT KILL\r\n",
        ] {
            let error = error_of(reply);
            assert!(matches!(error, StoreError::Failed { .. }), "{error}");
        }
    }

    #[test]
    fn missing_permission_is_refused_for_every_server_version() {
        for reply in [
            "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
            "-ERR The user executing the script can't run this command or subcommand script: f_1\r\n",
            "-ERR ACL failure in script: User worker has no permissions to run the 'xadd' command script: f_1\r\n",
        ] {
            let error = error_of(reply);
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
            let rights = "the user needs: ~bsft:team-a:* +del ";
            let text = error.to_string();
            assert!(text.contains(rights) && text.contains("+xadd"), "{text}");
        }
    }

    #[test]
    fn message_has_the_url_without_its_password() {
        let text = error_of("-NOAUTH Authentication required.\r\n").to_string();
        assert!(
            text.contains("redis://u@host") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
