//! The key ring of a process: which keys its jobs may use, and where each key may go.
//!
//! A job names a key and the address that gets it. A worker of a cluster executes jobs of others, so its own configuration decides:
//! the `--keys` file, or without one the table of well-known services. In a process that runs its own job, the author of the job owns the
//! environment, and any variable may go to any address.

mod keys_file;

pub(crate) use keys_file::keys_definition;
#[cfg(test)]
pub(crate) use keys_file::problems_of_keys_file;

pub use crate::http::Reach;

use crate::secret::{Secret, SecretError};
use crate::service_url::is_loopback;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use url::Url;

/// The keys that may be used without a `--keys` file, each with the origins of its service.
const WELL_KNOWN: [(&str, &[&str]); 3] = [
    ("OPENAI_API_KEY", &["https://api.openai.com"]),
    (
        "TOGETHER_API_KEY",
        &["https://api.together.ai", "https://api.together.xyz"],
    ),
    ("FIREWORKS_API_KEY", &["https://api.fireworks.ai"]),
];

/// The headers that a job may put a key into, in lower case, unless the `--keys` file names another one.
const HEADERS: [&str; 4] = ["authorization", "api-key", "x-api-key", "x-goog-api-key"];

/// Beginnings of the names of variables that are no keys of an LM server, whatever a file says.
const RESERVED_PREFIXES: [&str; 8] = [
    "BSFT_",
    "AWS_",
    "KUBERNETES_",
    "LD_",
    "OTEL_",
    "PYTHON",
    "RUST",
    "SSL_",
];

/// Names of variables that are no keys of an LM server, whatever a file says.
const RESERVED: [&str; 10] = [
    "HOME",
    "HOSTNAME",
    "LANG",
    "LOGNAME",
    "PATH",
    "PWD",
    "SHELL",
    "TMPDIR",
    "USER",
    "XDG_RUNTIME_DIR",
];

/// The one reserved prefix's exception: Amazon's name for the key of its OpenAI-compatible service.
const BEDROCK_KEY: &str = "AWS_BEARER_TOKEN_BEDROCK";

/// The keys that the jobs of a process may use.
#[derive(Debug)]
pub struct KeyRing {
    rules: Rules,
}

#[derive(Debug)]
enum Rules {
    /// Any variable may go to any address.
    Any,
    /// Only the listed keys may be used.
    Listed {
        /// The `--keys` file; `None` for the table of well-known services.
        file: Option<PathBuf>,
        keys: HashMap<String, KeyRule>,
    },
}

/// What a process allows for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyRule {
    /// The environment variable that holds the key.
    variable: String,
    /// The origins that may get it, as [`origin`] writes them.
    to: Vec<String>,
    /// The header that carries it, in lower case; `None` for the one that the job names among [`HEADERS`].
    header: Option<String>,
}

/// A key that may be sent to the address for which it was requested.
#[derive(Clone, Debug)]
pub struct GrantedKey {
    pub secret: Secret,
    /// The header that carries the bare key, in lower case; `None` for `Authorization: Bearer KEY`.
    pub header: Option<String>,
}

/// What a client may use at one address.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `None` if no key is sent.
    pub key: Option<GrantedKey>,
    pub reach: Reach,
}

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The variable is not set.
    #[error("the environment variable {variable} is not set; it should hold the API key for {address}")]
    Unset {
        variable: String,
        /// The server that needs it.
        address: String,
    },
    /// The variable, or the file that another one names, cannot be used.
    #[error(transparent)]
    Unreadable(#[from] SecretError),
    /// This process does not allow the key for the address, and what would allow it.
    #[error("{0}")]
    NotAllowed(String),
}

impl KeyRing {
    /// The ring of a process that runs its own job: any variable may go to any address.
    pub fn of_the_author() -> KeyRing {
        KeyRing { rules: Rules::Any }
    }

    /// The ring of a worker without a `--keys` file: the keys of well-known services, each for its own service.
    pub fn well_known() -> KeyRing {
        let rule = |(name, _): &(&str, &[&str])| {
            let rule = KeyRule {
                variable: (*name).to_owned(),
                to: own_origins(name).unwrap_or_default(),
                header: None,
            };
            ((*name).to_owned(), rule)
        };
        KeyRing {
            rules: Rules::Listed {
                file: None,
                keys: WELL_KNOWN.iter().map(rule).collect(),
            },
        }
    }

    /// The names of the keys that jobs may use, in order; `None` if they may use any.
    pub fn names(&self) -> Option<Vec<&str>> {
        match &self.rules {
            Rules::Any => None,
            Rules::Listed { keys, .. } => {
                let mut names: Vec<&str> = keys.keys().map(String::as_str).collect();
                names.sort_unstable();
                Some(names)
            }
        }
    }

    /// Origins of plain `http` on other machines, to which keys go unencrypted, as `[key.NAME]` and the origin.
    pub fn unencrypted(&self) -> Vec<String> {
        let Rules::Listed { keys, .. } = &self.rules else {
            return Vec::new();
        };
        let pairs = keys
            .iter()
            .flat_map(|(name, rule)| rule.to.iter().map(move |to| (name, to)));
        let unencrypted = pairs.filter(|(_, to)| Url::parse(to).is_ok_and(|url| is_unencrypted(&url)));
        let mut unencrypted: Vec<String> = unencrypted
            .map(|(name, to)| format!("[key.{name}]: {to}"))
            .collect();
        unencrypted.sort_unstable();
        unencrypted
    }

    /// What a client may use for requests to `address`: the key that a job calls `name`, or no key.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] as [`KeyRing::key`] does, or if this process does not call the address.
    pub fn access(
        &self,
        name: Option<&str>,
        address: &str,
        header: Option<&str>,
    ) -> Result<Access, KeyError> {
        let reach = self.reach(address);
        if Url::parse(address).is_ok_and(|url| !reach.includes(&url)) {
            return Err(KeyError::NotAllowed(format!(
                "this worker does not call {address}, because it is a link-local address; to allow it, list the server in a file for --keys"
            )));
        }
        let key = name.map(|name| self.key(name, address, header)).transpose()?;
        Ok(Access { key, reach })
    }

    /// Anywhere for the author's own jobs, and to servers that the `--keys` file lists.
    fn reach(&self, address: &str) -> Reach {
        match &self.rules {
            Rules::Any => Reach::Anywhere,
            Rules::Listed { keys, .. } => {
                let to = origin(address);
                let is_listed = to.is_some_and(|to| keys.values().any(|rule| rule.to.contains(&to)));
                if is_listed {
                    Reach::Anywhere
                } else {
                    Reach::NotLinkLocal
                }
            }
        }
    }

    /// The key that a job calls `name`, for requests to `address`. `header` is the one that the job names for the bare key; `None` for
    /// `Authorization: Bearer`.
    ///
    /// # Errors
    ///
    /// Returns [`KeyError`] if the key is not set, or if this process does not send it to that address or in that header.
    pub fn key(&self, name: &str, address: &str, header: Option<&str>) -> Result<GrantedKey, KeyError> {
        let header = header.map(str::to_ascii_lowercase);
        let (variable, header) = match &self.rules {
            Rules::Any => (name, header),
            Rules::Listed { file, keys } => {
                let to = origin(address).unwrap_or_else(|| address.to_owned());
                let request = KeyRequest {
                    name,
                    to: &to,
                    file: file.as_deref(),
                };
                let rule = keys.get(name).ok_or_else(|| request.unknown_key())?;
                if !rule.to.contains(&to) {
                    return Err(request.other_origin());
                }
                (&*rule.variable, allowed_header(rule, header, &request)?)
            }
        };
        match Secret::read(variable)? {
            Some(secret) => Ok(GrantedKey { secret, header }),
            None => Err(KeyError::Unset {
                variable: variable.to_owned(),
                address: address.to_owned(),
            }),
        }
    }
}

/// The header that carries the key: the rule's, or the job's if the rule has none.
fn allowed_header(
    rule: &KeyRule,
    of_job: Option<String>,
    request: &KeyRequest<'_>,
) -> Result<Option<String>, KeyError> {
    match (&rule.header, of_job) {
        (None, None) => Ok(None),
        (Some(header), None) => Ok(Some(header.clone())),
        (Some(header), Some(of_job)) if *header == of_job => Ok(Some(of_job)),
        (None, Some(of_job)) if HEADERS.contains(&&*of_job) => Ok(Some(of_job)),
        (_, Some(of_job)) => Err(request.other_header(&of_job)),
    }
}

/// What a job wants to do with a key, for messages.
struct KeyRequest<'a> {
    name: &'a str,
    /// The origin of the address.
    to: &'a str,
    /// The `--keys` file.
    file: Option<&'a Path>,
}

impl KeyRequest<'_> {
    fn unknown_key(&self) -> KeyError {
        let KeyRequest { name, to, .. } = self;
        if is_reserved(name) {
            return KeyError::NotAllowed(format!(
                "the variable {name} is never sent to a server; put the API key into another variable"
            ));
        }
        let entry = format!("[key.{name}] with to = [\"{to}\"]");
        KeyError::NotAllowed(match self.file {
            Some(file) => format!("{} has no key {name}; to allow it, add {entry}", file.display()),
            None => format!(
                "this worker does not allow the key {name}; to allow it, give the worker --keys FILE with {entry}"
            ),
        })
    }

    fn other_origin(&self) -> KeyError {
        let KeyRequest { name, to, .. } = self;
        KeyError::NotAllowed(match self.file {
            Some(file) => format!(
                "{} does not allow the key {name} for {to}; to allow it, add \"{to}\" to key.{name}.to",
                file.display()
            ),
            None => format!(
                "this worker sends the key {name} to its own service only, and not to {to}; to allow it, give the worker --keys FILE \
                 with [key.{name}] with to = [\"{to}\"]"
            ),
        })
    }

    fn other_header(&self, header: &str) -> KeyError {
        let KeyRequest { name, .. } = self;
        KeyError::NotAllowed(match self.file {
            Some(file) => format!(
                "{} does not allow the key {name} in the header `{header}`; to allow it, set key.{name}.header = \"{header}\"",
                file.display()
            ),
            None => format!(
                "this worker sends keys in the headers {} only, and not in `{header}`",
                HEADERS.join(", ")
            ),
        })
    }
}

/// Whether the variable holds something else than the key of an LM server.
fn is_reserved(variable: &str) -> bool {
    let is_prefixed = RESERVED_PREFIXES
        .iter()
        .any(|prefix| variable.starts_with(prefix));
    variable != BEDROCK_KEY && (is_prefixed || RESERVED.contains(&variable))
}

/// The origins of the service that a well-known key belongs to.
fn own_origins(name: &str) -> Option<Vec<String>> {
    let (_, origins) = WELL_KNOWN.iter().find(|(known, _)| *known == name)?;
    Some(origins.iter().map(|origin| (*origin).to_owned()).collect())
}

/// The scheme, host and port of an http or https URL, as `https://api.openai.com`. `None` for any other text.
fn origin(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let is_http = matches!(url.scheme(), "http" | "https");
    (is_http && url.has_host()).then(|| url.origin().ascii_serialization())
}

/// Whether requests to the address go over the network without encryption.
pub(crate) fn is_unencrypted(url: &Url) -> bool {
    url.scheme() == "http" && url.host().is_some_and(|host| !is_loopback(&host))
}

#[cfg(test)]
mod tests;
