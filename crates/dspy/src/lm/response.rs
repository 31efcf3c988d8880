//! An LM's answer: its text, how it ended, and what the server sent in place of a text.

use super::{Usage, is_zero};
use bsft_pycompat::text::{grouped, shortened};
use serde::{Deserialize, Serialize};

/// The values of `finish_reason` of an answer that the LM ended itself, in lower case. OpenAI sends the first, other servers the rest.
const ENDED_BY_LM: [&str; 16] = [
    "stop",
    "stop_token",
    "end",
    "done",
    "eos_found",
    "eosfound",
    "finish_reason_stop",
    "tool_calls",
    "function_call",
    "eos",
    "eos_token",
    "end_turn",
    "stop_sequence",
    "complete",
    "tool_use",
    "",
];

/// The values of an answer that reached a limit of tokens.
const AT_LIMIT: [&str; 3] = ["length", "max_tokens", "model_length"];

/// The most characters of a refusal in a message.
const SHOWN: usize = 200;

/// An LM's answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LmResponse {
    /// `choices[0].message.content`, empty where the server sent null or no choices.
    pub text: String,
    /// Its tokens.
    pub usage: Usage,
    /// `choices[0].finish_reason`; `None` if it is `stop` or missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// What the server sent in place of a text; `None` if it sent a text, or nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<Box<InsteadOfText>>,
}

/// What an answer without text has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InsteadOfText {
    /// The beginning of `message.refusal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// The beginning of `message.reasoning_content` or `message.reasoning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// The characters of the whole reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning_chars: u64,
    /// The names of the functions that it calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<String>,
    /// The part of the response that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingPart>,
}

/// The part that a response without text lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingPart {
    /// `choices` is empty.
    Choices,
    /// The choice has no `message`.
    Message,
    /// The choice has a `text` in place of a `message`, as in the older completions API.
    ChatMessage,
    /// The message has no `content`, or null.
    Content,
}

/// Whether the server cut or withheld an answer that has this `finish_reason`.
pub fn is_cut(finish_reason: &str) -> bool {
    !ENDED_BY_LM.contains(&finish_reason.to_ascii_lowercase().as_str())
}

impl LmResponse {
    /// Why the server cut or withheld the answer, as `finish_reason` has it; `None` if the answer is whole.
    pub fn cut(&self) -> Option<&str> {
        self.finish_reason.as_deref().filter(|reason| is_cut(reason))
    }

    /// The failure of an answer that was cut.
    pub fn cut_failure(&self) -> Option<String> {
        let reason = self.cut()?;
        let remedy = remedy(reason).map(|remedy| format!(": {remedy}"));
        let cut = || {
            format!(
                "the answer was cut, finish_reason {reason}{}",
                remedy.unwrap_or_default()
            )
        };
        Some(self.emptiness().unwrap_or_else(cut))
    }

    /// What the answer is if it has no text: a refusal, only reasoning, only tool calls, or nothing.
    pub fn emptiness(&self) -> Option<String> {
        if !self.text.trim().is_empty() {
            return None;
        }
        let cut = self.cut().map(|reason| format!(", finish_reason {reason}"));
        let cut = cut.unwrap_or_default();
        let of_cut = self.cut().and_then(remedy);
        let with = |what: String, advice: Option<&str>| match of_cut.or(advice) {
            Some(advice) => format!("{what}{cut}: {advice}"),
            None => format!("{what}{cut}"),
        };
        let nothing = InsteadOfText::default();
        let instead = self.instead.as_deref().unwrap_or(&nothing);
        Some(if let Some(refusal) = &instead.refusal {
            format!("the answer is a refusal{cut}: {}", shortened(refusal, SHOWN))
        } else if instead.reasoning.is_some() {
            let characters = grouped(instead.reasoning_chars);
            with(
                format!("the answer is only reasoning ({characters} characters)"),
                Some("switch thinking off, or the server's reasoning parser"),
            )
        } else if !instead.tool_calls.is_empty() {
            let names = instead.tool_calls.join(", ");
            with(
                format!("the answer is only tool calls ({names})"),
                Some("the program asks for text"),
            )
        } else {
            let missing = instead.missing.map(MissingPart::advice);
            with("the answer is empty".to_owned(), missing)
        })
    }
}

impl MissingPart {
    fn advice(self) -> &'static str {
        match self {
            MissingPart::Choices => "the server sent no choice",
            MissingPart::Message => "the server sent a choice without a message",
            MissingPart::ChatMessage => "the server sent a `text` in place of a chat message",
            MissingPart::Content => "the server sent a message without content",
        }
    }
}

/// What to do about answers that were cut for this reason.
fn remedy(finish_reason: &str) -> Option<&'static str> {
    let reason = finish_reason.to_ascii_lowercase();
    match reason.as_str() {
        "content_filter" => Some("the server's content filter withheld it"),
        reason if AT_LIMIT.contains(&reason) => Some("raise max_tokens"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(finish_reason: &str, instead: InsteadOfText) -> LmResponse {
        LmResponse {
            finish_reason: Some(finish_reason.to_owned()),
            instead: Some(Box::new(instead)),
            ..LmResponse::default()
        }
    }

    fn reasoning(characters: u64) -> InsteadOfText {
        InsteadOfText {
            reasoning: Some("hm".to_owned()),
            reasoning_chars: characters,
            ..InsteadOfText::default()
        }
    }

    #[test]
    fn emptiness_distinguishes_answers_without_text() {
        let refusal = InsteadOfText {
            refusal: Some("I cannot\nhelp.".to_owned()),
            ..reasoning(3)
        };
        let tools = InsteadOfText {
            tool_calls: vec!["find".to_owned(), "open".to_owned()],
            ..InsteadOfText::default()
        };
        let missing = |part| InsteadOfText {
            missing: Some(part),
            ..InsteadOfText::default()
        };
        for (answer, wanted) in [
            (
                empty("stop", refusal.clone()),
                "the answer is a refusal: I cannot help.",
            ),
            (
                empty("content_filter", refusal),
                "the answer is a refusal, finish_reason content_filter: I cannot help.",
            ),
            (
                empty("length", reasoning(1204)),
                "the answer is only reasoning (1,204 characters), finish_reason length: raise max_tokens",
            ),
            (
                empty("stop", reasoning(30)),
                "the answer is only reasoning (30 characters): switch thinking off, or the server's reasoning parser",
            ),
            (
                empty("tool_calls", tools),
                "the answer is only tool calls (find, open): the program asks for text",
            ),
            (
                empty("content_filter", missing(MissingPart::Content)),
                "the answer is empty, finish_reason content_filter: the server's content filter withheld it",
            ),
            (
                empty("stop", missing(MissingPart::Choices)),
                "the answer is empty: the server sent no choice",
            ),
            (LmResponse::default(), "the answer is empty"),
        ] {
            assert_eq!(answer.emptiness().as_deref(), Some(wanted));
        }
        let text = LmResponse {
            text: "hi".to_owned(),
            ..empty("length", reasoning(3))
        };
        assert_eq!(text.emptiness(), None);
        assert_eq!(
            text.cut_failure().as_deref(),
            Some("the answer was cut, finish_reason length: raise max_tokens")
        );
    }

    #[test]
    fn only_reasons_beside_the_lms_own_end_cut_an_answer() {
        for reason in ["stop", "STOP", "tool_calls", "eos_token", "end_turn", ""] {
            assert!(!is_cut(reason), "{reason}");
        }
        for reason in [
            "length",
            "content_filter",
            "MAX_TOKENS",
            "error",
            "abort",
            "SAFETY",
        ] {
            assert!(is_cut(reason), "{reason}");
        }
        assert_eq!(LmResponse::default().cut(), None);
    }
}
