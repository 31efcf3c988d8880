//! What the server or the connection said, as an error of the store: does it pass by itself, and if not, who has to do what.

use super::rights::needed;
use super::url::RedisAddress;
use crate::store::StoreError;
use crate::tls;
use redis::{ErrorKind, RedisError};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum RedisFault {
    /// The connection's or the server's own words.
    Redis(RedisError),
    /// None came within this time.
    Silent(Duration),
}

/// Error codes that scripts of an older server wrap into a text of their own.
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

/// What servers say, older ones and newer ones, that let the user run scripts, but not what is in them.
const DENIED_IN_SCRIPT: [&str; 2] = ["The user executing the script", "ACL failure in script"];

/// What the redis crate says in place of the error code when the URL's database is not given to us.
const DATABASE_REFUSED: &str = "refused to switch database";

/// What the redis crate says when no node of a cluster takes the password, in an error of another kind.
const PASSWORD_REFUSED: &str = "Password authentication failed";

impl RedisFault {
    pub(super) fn is_unknown_script(&self) -> bool {
        matches!(self, RedisFault::Redis(e) if e.code() == Some("NOSCRIPT"))
    }

    /// Whether another connection may do better: this one is broken, mute or leads to a server that is no longer the master.
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

    /// As an error of the store there, whose user has this namespace.
    pub(super) fn at(&self, address: &RedisAddress, namespace: &str) -> StoreError {
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
        let said = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(advice) = io_error(error).and_then(tls::advice) {
            let message = format!("{said}; {advice}");
            return StoreError::Misconfigured { place, message };
        }
        if let Some(code) = code(error) {
            return of_server(code, place, said, namespace);
        }
        match error.kind() {
            kind if kind == ErrorKind::AuthenticationFailed || said.contains(PASSWORD_REFUSED) => {
                StoreError::Refused {
                    place,
                    message: format!("{said}; check user and password in the URL"),
                }
            }
            ErrorKind::InvalidClientConfig => StoreError::Misconfigured { place, message: said },
            ErrorKind::Parse => StoreError::Unreachable {
                place,
                message: format!(
                    "{said}; check that host and port are a Redis server's, and whether it wants TLS (rediss://)"
                ),
            },
            _ if said.contains(DATABASE_REFUSED) => of_database(place, said, namespace),
            ErrorKind::Server(_) | ErrorKind::Extension
                if DENIED_IN_SCRIPT.iter().any(|denied| said.contains(denied)) =>
            {
                refused(place, &said, namespace)
            }
            ErrorKind::Server(_) | ErrorKind::Extension => StoreError::Failed { place, message: said },
            _ if address.is_encrypted() => StoreError::Unreachable {
                place,
                message: format!(
                    "{said}; check host and port, that the server runs and speaks TLS there (a plain port needs redis://), \
                     and SSL_CERT_FILE if it is set"
                ),
            },
            _ => StoreError::Unreachable {
                place,
                message: format!(
                    "{said}; check host and port, that the server runs, and whether it wants TLS (rediss://)"
                ),
            },
        }
    }
}

/// The system's error behind it.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    type Source = Arc<dyn Error + Send + Sync>;
    error.source()?.downcast_ref::<Source>()?.downcast_ref()
}

fn of_server(code: &str, place: String, said: String, namespace: &str) -> StoreError {
    match code {
        "NOAUTH" => StoreError::Refused {
            place,
            message: format!("{said}; put user and password into the URL"),
        },
        "NOPERM" => refused(place, &said, namespace),
        "WRONGTYPE" => StoreError::Corrupt {
            place,
            message: format!("{said}; another program may use these keys: choose another namespace"),
        },
        "MISCONF" => StoreError::Unreachable {
            place,
            message: format!(
                "{said}; the server cannot write to its disk, and takes nothing until there is space"
            ),
        },
        "OOM" => StoreError::Unreachable {
            place,
            message: format!(
                "{said}; its memory is full until outcomes are taken to DIR; if it stays so, raise maxmemory"
            ),
        },
        "READONLY" => StoreError::Unreachable {
            place,
            message: format!(
                "{said}; it is a replica now: wait for the failover, or give the master's address"
            ),
        },
        "MOVED" | "ASK" => StoreError::Unreachable {
            place,
            message: format!(
                "{said}; a cluster moves its keys; if it stays so, let this user ask INFO, by which a cluster is known"
            ),
        },
        _ => StoreError::Unreachable { place, message: said },
    }
}

/// Choosing the database is the first that we ask for: a server that wants a password first says so here.
fn of_database(place: String, said: String, namespace: &str) -> StoreError {
    if said.contains("Authentication required") {
        return of_server("NOAUTH", place, said, namespace);
    }
    StoreError::Misconfigured {
        place,
        message: format!("{said}; check the database number in the URL: a cluster has only 0"),
    }
}

fn refused(place: String, said: &str, namespace: &str) -> StoreError {
    StoreError::Refused {
        place,
        message: format!("{said}; the user needs: {}", needed(namespace)),
    }
}

/// The error's code, also one that an older server wrapped because it came from within a script.
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
    use crate::recourse::Recourse;

    fn of(reply: &str) -> StoreError {
        let error = redis::parse_redis_value(reply.as_bytes())
            .unwrap()
            .extract_error()
            .unwrap_err();
        RedisFault::Redis(error).at(
            &RedisAddress::parse("redis://u:hunter2@host").unwrap(),
            "bsft:team-a",
        )
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_stops() {
        for reply in [
            "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "-ERR Error running script (call to f_1): @user_script:4: @user_script: 4: -OOM command not allowed\r\n",
            "-LOADING Redis is loading the dataset in memory\r\n",
            "-READONLY You can't write against a read only replica.\r\n",
            "-CLUSTERDOWN The cluster is down\r\n",
            "-MISCONF Errors writing to the AOF file: No space left on device\r\n",
            "-BUSY Redis is busy running a script.\r\n",
        ] {
            assert!(matches!(of(reply).recourse(), Recourse::Retry), "{reply}");
        }
        for reply in [
            "-NOAUTH Authentication required.\r\n",
            "-NOPERM this user has no permissions to run the 'xadd' command\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            "-ERR unknown command 'EVALSHA'\r\n",
        ] {
            assert_eq!(of(reply).recourse(), Recourse::Halt, "{reply}");
        }
    }

    #[test]
    fn what_a_user_may_not_do_is_refused_whatever_the_servers_version() {
        for reply in [
            "-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
            "-ERR The user executing the script can't run this command or subcommand script: f_1\r\n",
            "-ERR ACL failure in script: User worker has no permissions to run the 'xadd' command script: f_1\r\n",
        ] {
            let error = of(reply);
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
            let rights = "the user needs: ~bsft:team-a:* +del ";
            let told = error.to_string();
            assert!(told.contains(rights) && told.contains("+xadd"), "{told}");
        }
    }

    #[test]
    fn the_message_has_the_place_and_not_the_password() {
        let told = of("-NOAUTH Authentication required.\r\n").to_string();
        assert!(
            told.contains("redis://u@host") && !told.contains("hunter2"),
            "{told}"
        );
    }
}
