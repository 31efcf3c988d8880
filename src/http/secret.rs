//! A secret that appears in no log line, error or debug output.

use std::fmt;

/// An API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Trims the text; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    /// The value of the environment variable; `None` if it is unset, blank or not UTF-8.
    pub fn from_env(variable: &str) -> Option<Secret> {
        std::env::var(variable).ok().and_then(|text| Secret::new(&text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_scrub_hide_the_secret() {
        let key = Secret::new(" sk-42\n").unwrap();
        assert_eq!(format!("{key:?}"), "Secret(..)");
        assert_eq!(key.scrub("bad key sk-42!"), "bad key [key]!");
        assert_eq!(key.reveal(), "sk-42");
        assert_eq!(Secret::new(" \n"), None);
    }
}
