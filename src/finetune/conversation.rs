//! A parsed training row: a list of messages that ends with the answer to learn.

use serde::Deserialize;
use std::borrow::Cow;

/// The messages of a row, in the format of DSPy and OpenAI.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation<'a> {
    /// The messages in order.
    #[serde(borrow)]
    pub messages: Vec<ChatMessage<'a>>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage<'a> {
    /// `system`, `user` or `assistant`.
    #[serde(borrow)]
    pub role: Cow<'a, str>,
    /// The text of the message.
    #[serde(borrow)]
    pub content: Cow<'a, str>,
}

/// Why a line is not a training row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The JSON has no messages, or unknown members.
    #[error("not a row of messages: {0}")]
    Json(#[from] serde_json::Error),
    /// The last message is not an answer.
    #[error("the last message of a training row is the assistant's, and here it is not")]
    NoAnswer,
    /// An unknown role.
    #[error("a training row's messages are of system, user and assistant, and here is one of `{0}`")]
    Role(String),
    /// A system message that is not the first message.
    #[error("the system message is not the first")]
    LateSystem,
}

/// A question and its answer. The question is empty if the row has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// The text of the user.
    pub user: Cow<'a, str>,
    /// The text of the assistant.
    pub assistant: &'a str,
}

impl<'a> Conversation<'a> {
    /// Parses a line, with or without its line feed.
    pub fn read(line: &'a str) -> Result<Conversation<'a>, RowError> {
        let row: Conversation<'a> = serde_json::from_str(line)?;
        for (at, message) in row.messages.iter().enumerate() {
            match &*message.role {
                "user" | "assistant" => {}
                "system" if at == 0 => {}
                "system" => return Err(RowError::LateSystem),
                other => return Err(RowError::Role(other.to_owned())),
            }
        }
        match row.messages.last() {
            Some(last) if last.role == "assistant" => Ok(row),
            _ => Err(RowError::NoAnswer),
        }
    }

    /// The answer to learn.
    pub fn answer(&self) -> &str {
        self.messages.last().map_or("", |last| &last.content)
    }

    /// The task description.
    pub fn system(&self) -> Option<&str> {
        let first = self.messages.first()?;
        (first.role == "system").then_some(&*first.content)
    }

    /// Alternating questions and answers, for formats that require them. Consecutive user messages become one question.
    pub fn turns(&self) -> Vec<Turn<'_>> {
        let mut turns = Vec::with_capacity(self.messages.len() / 2);
        let mut asked: Option<Cow<'_, str>> = None;
        for message in self.messages.iter().filter(|message| message.role != "system") {
            if message.role == "assistant" {
                turns.push(Turn {
                    user: asked.take().unwrap_or_default(),
                    assistant: &message.content,
                });
            } else {
                asked = Some(match asked {
                    None => Cow::Borrowed(&*message.content),
                    Some(before) => Cow::Owned(format!("{before}\n\n{}", message.content)),
                });
            }
        }
        turns
    }
}
