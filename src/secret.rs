//! A secret that appears in no log line, error or debug output, and where this process finds it: in a variable, or in a file that a
//! second variable names.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most bytes of a file with a secret. A larger one is another file.
const LARGEST_FILE: u64 = 64 << 10;

/// An API key, a password, or a URL that holds one.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret cannot be read although this process has a variable for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Two sources, which may differ.
    #[error("{name} and {name}_FILE are both set; unset one of them")]
    Both {
        /// The secret's variable.
        name: String,
    },
    /// The variable is not text.
    #[error("{name} is not UTF-8 text; set it again")]
    NotText {
        /// The secret's variable.
        name: String,
    },
    /// The file cannot be used.
    #[error("{name}_FILE: {file} {reason}")]
    File {
        /// The secret's variable.
        name: String,
        /// The path if it is absolute. Another value may be the secret itself, set to the wrong variable.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether the text can be the name of a variable that holds a secret, and is not the secret itself.
pub(crate) fn is_variable_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !looks_secret(text)
}

/// Whether a value looks like an API key.
pub(crate) fn looks_secret(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    [
        "sk-", "sk_", "sess-", "gsk_", "hf_", "AIza", "xai-", "ghp_", "fw_",
    ]
    .iter()
    .any(|p| text.starts_with(p))
        && text.len() >= 8
}

impl SecretError {
    /// The secret's variable, without `_FILE`.
    pub fn variable(&self) -> &str {
        match self {
            SecretError::Both { name } | SecretError::NotText { name } | SecretError::File { name, .. } => {
                name
            }
        }
    }
}

impl Secret {
    /// Trims the text; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    /// The secret of that name: the value of the variable `name`, or the content of the file that the variable `name_FILE` names, without
    /// white space around it. `None` if both are unset or blank. Reads the file each time, so that its replacement is noticed.
    ///
    /// # Errors
    ///
    /// Returns [`SecretError`] if both variables are set, or if what one of them names is no secret.
    pub fn read(name: &str) -> Result<Option<Secret>, SecretError> {
        Secret::find(name, |variable| std::env::var_os(variable))
    }

    fn find(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Secret>, SecretError> {
        let set = |variable_name: &str| {
            let value = variable(variable_name)?;
            let is_blank = value.to_str().is_some_and(|text| text.trim().is_empty());
            (!is_blank).then_some(value)
        };
        match (set(name), set(&format!("{name}_FILE"))) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(SecretError::Both {
                name: name.to_owned(),
            }),
            (Some(value), None) => {
                let text = value.to_str().and_then(Secret::new);
                text.map(Some).ok_or_else(|| SecretError::NotText {
                    name: name.to_owned(),
                })
            }
            (None, Some(path)) => {
                let path = PathBuf::from(path);
                content(&path).map(Some).map_err(|reason| SecretError::File {
                    name: name.to_owned(),
                    file: shown(&path),
                    reason,
                })
            }
        }
    }

    /// The secret itself, for the code that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Replaces the secret in `text`: servers echo a key that they refuse.
    pub fn scrub(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The secret in the file, or why it has none.
fn content(path: &Path) -> Result<Secret, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    let more_than_the_most = LARGEST_FILE + 1;
    file.take(more_than_the_most)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 == more_than_the_most {
        return Err(format!(
            "holds more than {} KiB and is no file with a secret",
            LARGEST_FILE >> 10
        ));
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
    Secret::new(&text).ok_or_else(|| "is empty".to_owned())
}

fn shown(path: &Path) -> String {
    if path.is_absolute() {
        path.display().to_string()
    } else {
        "the file (its path is not absolute)".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// Reads the secret `KEY` in an environment with these variables.
    fn key(variables: &[(&str, &str)]) -> Result<Option<Secret>, String> {
        let variables: HashMap<&str, &str> = variables.iter().copied().collect();
        let found = Secret::find("KEY", |name| variables.get(name).map(Into::into));
        found.map_err(|error| error.to_string())
    }

    fn secret(text: &str) -> Result<Option<Secret>, String> {
        Ok(Secret::new(text))
    }

    #[test]
    fn debug_and_scrub_hide_the_secret() {
        let key = Secret::new(" sk-42\n").unwrap();
        assert_eq!(format!("{key:?}"), "Secret(..)");
        assert_eq!(key.scrub("bad key sk-42!"), "bad key [key]!");
        assert_eq!(key.reveal(), "sk-42");
        assert_eq!(Secret::new(" \n"), None);
    }

    #[test]
    fn read_takes_the_variable_or_the_file_and_not_both() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "sk-file\n").unwrap();
        let file = path.to_str().unwrap();
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[("KEY", " "), ("KEY_FILE", "")]), Ok(None));
        assert_eq!(key(&[("KEY", "sk-env")]), secret("sk-env"));
        assert_eq!(key(&[("KEY_FILE", file)]), secret("sk-file"));
        assert_eq!(key(&[("KEY", " "), ("KEY_FILE", file)]), secret("sk-file"));
        assert_eq!(
            key(&[("KEY", "sk-env"), ("KEY_FILE", file)]),
            Err("KEY and KEY_FILE are both set; unset one of them".to_owned())
        );
        std::fs::write(&path, "sk-new\r\n").unwrap();
        assert_eq!(key(&[("KEY_FILE", file)]), secret("sk-new"));
    }

    #[test]
    fn read_names_a_file_that_it_cannot_use() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let file = path.to_str().unwrap();
        let refused = || key(&[("KEY_FILE", file)]).unwrap_err();
        assert_eq!(
            refused(),
            format!("KEY_FILE: {file} cannot be read: No such file or directory (os error 2)")
        );
        for (content, reason) in [
            (&b" \n"[..], "is empty"),
            (b"\xff\xfe", "is not UTF-8 text"),
            (
                &[b'x'; 65 << 10],
                "holds more than 64 KiB and is no file with a secret",
            ),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(refused(), format!("KEY_FILE: {file} {reason}"));
        }
        let folder = key(&[("KEY_FILE", dir.path().to_str().unwrap())]).unwrap_err();
        assert!(folder.contains("cannot be read"), "{folder}");
    }

    #[test]
    fn read_does_not_repeat_a_secret_that_was_set_as_file() {
        for secret in ["sk-42", "amqp://bsft:sk-42@host/x"] {
            let refused = key(&[("KEY_FILE", secret)]).unwrap_err();
            assert!(
                refused.starts_with("KEY_FILE: the file (its path is not absolute) cannot be read: "),
                "{refused}"
            );
            assert!(!refused.contains("sk-42"), "{refused}");
        }
    }
}
