//! A training row, read: messages whose last one is the answer to learn.

use serde::Deserialize;
use std::borrow::Cow;

/// A row's messages, as DSPy and OpenAI write them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversation<'a> {
    /// In order.
    #[serde(borrow)]
    pub messages: Vec<ChatMessage<'a>>,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage<'a> {
    /// Who speaks: `system`, `user` or `assistant`.
    #[serde(borrow)]
    pub role: Cow<'a, str>,
    /// What is said.
    #[serde(borrow)]
    pub content: Cow<'a, str>,
}

/// The text is no training row.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// No messages in it, or more than messages.
    #[error("not a row of messages: {0}")]
    Json(#[from] serde_json::Error),
    /// Nothing to learn.
    #[error("the last message of a training row is the assistant's, and here it is not")]
    NoAnswer,
    /// A role that a row does not have.
    #[error("a training row's messages are of system, user and assistant, and here is one of `{0}`")]
    Role(String),
    /// The system's message is the first one.
    #[error("the system message is not the first")]
    LateSystem,
}

/// What was asked and what was answered. Where nobody asked, the question is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<'a> {
    /// The user's words.
    pub user: Cow<'a, str>,
    /// The assistant's.
    pub assistant: &'a str,
}

impl<'a> Conversation<'a> {
    /// Reads a line, with or without its line feed.
    pub fn read(line: &'a str) -> Result<Conversation<'a>, RowError> {
        let row: Conversation<'a> = serde_json::from_str(line)?;
        for (at, said) in row.messages.iter().enumerate() {
            match &*said.role {
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

    /// Questions and answers by turns, as formats have them that know nothing else: what a user says twice in a row is one question.
    pub fn turns(&self) -> Vec<Turn<'_>> {
        let mut turns = Vec::with_capacity(self.messages.len() / 2);
        let mut asked: Option<Cow<'_, str>> = None;
        for said in self.messages.iter().filter(|said| said.role != "system") {
            if said.role == "assistant" {
                turns.push(Turn {
                    user: asked.take().unwrap_or_default(),
                    assistant: &said.content,
                });
            } else {
                asked = Some(match asked {
                    None => Cow::Borrowed(&*said.content),
                    Some(before) => Cow::Owned(format!("{before}\n\n{}", said.content)),
                });
            }
        }
        turns
    }
}
