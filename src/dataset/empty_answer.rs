//! Answers without content: every output field is empty, under the headers that the adapter writes.

use crate::adapter::AdapterKind;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Whether the assistant's turn has no content. Reads no further than the first content.
pub(super) fn is_empty_answer(adapter: AdapterKind, answer: &str) -> bool {
    match adapter {
        AdapterKind::Chat => answer
            .lines()
            .map(str::trim)
            .all(|line| line.is_empty() || is_header(line)),
        AdapterKind::Json => answer.trim().is_empty() || serde_json::from_str::<NoText>(answer).is_ok(),
        AdapterKind::Xml => are_empty_tags(answer),
    }
}

/// Whether it is a line such as `[[ ## answer ## ]]`.
fn is_header(line: &str) -> bool {
    line.starts_with("[[ ## ") && line.ends_with(" ## ]]")
}

/// Whether the text is a sequence of tags with nothing between their start and their end.
fn are_empty_tags(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(tag) = rest.strip_prefix('<') {
        let Some((name, content)) = tag.split_once('>') else {
            return false;
        };
        let end = content.trim_start().strip_prefix("</");
        let Some(after) = end.and_then(|end| end.strip_prefix(name)?.strip_prefix('>')) else {
            return false;
        };
        rest = after.trim_start();
    }
    rest.is_empty()
}

/// A JSON object whose values are blank strings.
struct NoText;

impl<'de> Deserialize<'de> for NoText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NoText, D::Error> {
        deserializer.deserialize_map(NoTextVisitor)
    }
}

struct NoTextVisitor;

impl<'de> Visitor<'de> for NoTextVisitor {
    type Value = NoText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NoText, A::Error> {
        while let Some((_, AnswerText(text))) = map.next_entry::<IgnoredAny, AnswerText<'_>>()? {
            if !text.trim().is_empty() {
                return Err(A::Error::custom("a value"));
            }
        }
        Ok(NoText)
    }
}

#[derive(serde::Deserialize)]
struct AnswerText<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_empty_answer_sees_through_the_headers_of_each_adapter() {
        let empty = [
            (AdapterKind::Chat, ""),
            (
                AdapterKind::Chat,
                "[[ ## answer ## ]]\n\n\n[[ ## completed ## ]]\n",
            ),
            (
                AdapterKind::Chat,
                "[[ ## reasoning ## ]]\n  \n\n[[ ## answer ## ]]\n\n[[ ## completed ## ]]\n",
            ),
            (
                AdapterKind::Json,
                "{\n  \"reasoning\": \"\",\n  \"answer\": \" \\n\"\n}",
            ),
            (AdapterKind::Json, "{}"),
            (AdapterKind::Xml, "<answer>\n\n</answer>"),
            (
                AdapterKind::Xml,
                "<reasoning>\n\n</reasoning>\n\n<answer></answer>",
            ),
        ];
        for (adapter, answer) in empty {
            assert!(is_empty_answer(adapter, answer), "{adapter:?}: {answer:?}");
        }
    }

    #[test]
    fn is_empty_answer_takes_every_value_for_content() {
        let full = [
            (
                AdapterKind::Chat,
                "[[ ## answer ## ]]\n[]\n\n[[ ## completed ## ]]\n",
            ),
            (
                AdapterKind::Chat,
                "[[ ## reasoning ## ]]\nr\n\n[[ ## answer ## ]]\n\n[[ ## completed ## ]]\n",
            ),
            (
                AdapterKind::Chat,
                "[[ ## answer ## ]] x\n\n[[ ## completed ## ]]\n",
            ),
            (AdapterKind::Json, "{\"reasoning\": \"\", \"answer\": 0}"),
            (AdapterKind::Json, "{\"answer\": null}"),
            (AdapterKind::Json, "{\"answer\": \"\", \"note\": \"n\"}"),
            (AdapterKind::Json, "text"),
            (AdapterKind::Xml, "<answer>\nx\n</answer>"),
            (AdapterKind::Xml, "<answer>\n<br>\n</answer>"),
            (AdapterKind::Xml, "<answer>"),
            (AdapterKind::Xml, "x"),
        ];
        for (adapter, answer) in full {
            assert!(!is_empty_answer(adapter, answer), "{adapter:?}: {answer:?}");
        }
    }
}
