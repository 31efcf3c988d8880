//! Text with placeholders: `{word}` is a placeholder, `{{word}}` is the text `{word}`, any other brace is itself.

pub(super) mod placeholders;
pub(super) mod values;

use serde_json::Value as Json;

/// A parsed text with placeholders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<TemplatePart>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    Slot(String),
}

impl Template {
    /// Parses a template. The error contains what to write instead.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        let mut template = Template { parts: Vec::new() };
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            template.text(&rest[..at]);
            rest = &rest[at..];
            if let Some((word, after)) = rest.strip_prefix("{{").and_then(|rest| word(rest, "}}")) {
                template.text(&format!("{{{word}}}"));
                rest = after;
            } else if let Some((word, after)) = word(&rest[1..], "}") {
                if !is_name(word) {
                    return Err(format!(
                        "`{{{word}}}` is not a placeholder: names have letters, digits and `_`; write `{{{{{word}}}}}` for the text itself"
                    ));
                }
                template.parts.push(TemplatePart::Slot(word.to_owned()));
                rest = after;
            } else {
                template.text("{");
                rest = &rest[1..];
            }
        }
        template.text(rest);
        Ok(template)
    }

    fn text(&mut self, text: &str) {
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(TemplatePart::Text(last)) => last.push_str(text),
            _ => self.parts.push(TemplatePart::Text(text.to_owned())),
        }
    }

    /// The names of its placeholders in order of occurrence.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Slot(name) => Some(name.as_str()),
            TemplatePart::Text(_) => None,
        })
    }

    /// Replaces every placeholder with its `value_of`. `None` if one of them has no value.
    pub(crate) fn fill(&self, value_of: impl Fn(&str) -> Option<String>) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Text(text) => out.push_str(text),
                TemplatePart::Slot(name) => out.push_str(&value_of(name)?),
            }
        }
        Some(out)
    }
}

/// A value as an argument of a command.
pub(crate) fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => json(other),
    }
}

/// A value as JSON that YAML 1.1 parses to the same value: it reads `1e-5` as a string and `1.0e-5` as a number.
pub(crate) fn json(value: &Json) -> String {
    let text = value.to_string();
    match (value, text.split_once('e')) {
        (Json::Number(_), Some((digits, exponent))) => {
            let point = if digits.contains('.') { "" } else { ".0" };
            let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
            format!("{digits}{point}e{sign}{exponent}")
        }
        _ => text,
    }
}

/// Whether `word` is a valid name of a placeholder or a `train` key.
pub(crate) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits `text` at `end` into a name and the rest. `None` if the part before `end` is not a name.
fn word<'t>(text: &'t str, end: &str) -> Option<(&'t str, &'t str)> {
    let (word, after) = text.split_once(end)?;
    let is_word = !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    (is_word && word.contains(|c: char| c.is_ascii_alphabetic())).then_some((word, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    fn fill(text: &str) -> Option<String> {
        let value_of = |name: &str| (name != "absent").then(|| format!("<{name}>"));
        Template::parse(text).unwrap().fill(value_of)
    }

    #[test]
    fn only_words_in_braces_are_placeholders() {
        for (text, filled) in [
            ("--lr={lr}", "--lr=<lr>"),
            ("{a}{b_1}", "<a><b_1>"),
            ("{{a}}", "{a}"),
            (r#"{"x": {"y": {}}}"#, r#"{"x": {"y": {}}}"#),
            (r#"{"x":{x}}"#, r#"{"x":<x>}"#),
            ("{ a }", "{ a }"),
            ("{1}", "{1}"),
            ("{", "{"),
            ("", ""),
        ] {
            assert_eq!(fill(text).as_deref(), Some(filled), "{text}");
        }
        assert_eq!(fill("x{absent}"), None);
        assert!(
            Template::parse("{base-model}")
                .unwrap_err()
                .contains("{{base-model}}")
        );
    }

    #[test]
    fn small_numbers_stay_numbers_in_yaml() {
        assert_eq!(json(&value!(1e-7)), "1.0e-7");
        assert_eq!(json(&value!(2.5e-7)), "2.5e-7");
        assert_eq!(json(&value!(1e30)), "1.0e+30");
        assert_eq!(json(&value!(0.5)), "0.5");
        assert_eq!(json(&value!("1e-5\": x")), r#""1e-5\": x""#);
    }
}
