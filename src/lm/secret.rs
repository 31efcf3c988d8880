//! A secret that no log, error or debug print shows.

use std::fmt;

/// An API key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text, without the white space around it; nothing where there is only white space.
    pub fn new(text: &str) -> Option<Secret> {
        let text = text.trim();
        (!text.is_empty()).then(|| Secret(text.to_owned()))
    }

    /// What the environment variable holds; none: unset, empty or not UTF-8.
    pub fn from_env(variable: &str) -> Option<Secret> {
        std::env::var(variable).ok().and_then(|text| Secret::new(&text))
    }

    /// The secret itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without the secret: servers like to echo a key that they refuse.
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
    fn a_secret_shows_neither_in_debug_nor_in_scrubbed_text() {
        let key = Secret::new(" sk-42\n").unwrap();
        assert_eq!(format!("{key:?}"), "Secret(..)");
        assert_eq!(key.scrub("bad key sk-42!"), "bad key [key]!");
        assert_eq!(key.reveal(), "sk-42");
        assert_eq!(Secret::new(" \n"), None);
    }
}
