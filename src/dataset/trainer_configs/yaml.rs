//! A minimal YAML writer for the configurations.

use std::fmt::{Display, Write as _};

pub(super) struct Yaml(pub(super) String);

impl Yaml {
    /// A line `key: value`, where the value is a number or a plain scalar.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) -> &mut Yaml {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{key}: {value}");
        self
    }

    /// A line `key: "value"`.
    pub(super) fn text(&mut self, key: &str, value: &str) -> &mut Yaml {
        self.plain(key, quoted(value))
    }

    /// A line `key:`, which starts a nested block.
    pub(super) fn heading(&mut self, key: &str) -> &mut Yaml {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{key}:");
        self
    }

    /// A line of text as it is.
    pub(super) fn comment(&mut self, words: &str) -> &mut Yaml {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# {words}");
        self
    }
}

/// A string in double quotes, in ASCII, which every YAML parser reads alike.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        // Writing to a String cannot fail.
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            _ if u32::from(c) <= 0xffff => drop(write!(out, "\\u{:04X}", u32::from(c))),
            _ => drop(write!(out, "\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// A number without an exponent, because YAML 1.1 parsers read some numbers with an exponent as strings.
pub(super) fn number(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

/// An argument of a shell command, quoted if necessary.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@' | b'/');
    if text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
