//! A recorded answer: what keeps a task that starts again from paying again.

use super::{Exchange, NotATrace};
use crate::lm::{LmResponse, Usage};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// What the store keeps of an answer, in the slot of its place in the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// [`question`] of what was asked: an answer to another question is never used.
    pub question: String,
    /// What came back.
    pub answer: LmResponse,
}

impl RecordedAnswer {
    /// The bytes that the store keeps.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers serialise")
    }
}

/// Digest of an LM's name and the messages it was sent. What else a request holds is the same for every request of a task's
/// id, but for the JSON retry's format, which follows from its messages.
pub fn question(lm: &str, messages: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(lm.as_bytes());
    digest.update([0]);
    digest.update(messages.as_bytes());
    crate::hex::hex(&digest.finalize()[..16])
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    calls: Vec<LineCall<'a>>,
}

#[derive(Deserialize)]
struct LineCall<'a> {
    lm: String,
    #[serde(borrow)]
    messages: &'a RawValue,
    raw_answer: String,
    usage: Usage,
    #[serde(borrow, default)]
    unparsed: Vec<LineExchange<'a>>,
}

#[derive(Deserialize)]
struct LineExchange<'a> {
    #[serde(borrow)]
    messages: &'a RawValue,
    raw_answer: String,
    usage: Usage,
}

/// The recorded answers of a line of `traces.jsonl`, in the order of their requests.
pub fn answers_of(line: &str) -> Result<Vec<RecordedAnswer>, NotATrace> {
    let line: Line<'_> = serde_json::from_str(line)?;
    let exchanges = line.calls.into_iter().flat_map(|call| {
        let used = LineExchange {
            messages: call.messages,
            raw_answer: call.raw_answer,
            usage: call.usage,
        };
        let lm = call.lm;
        call.unparsed.into_iter().chain([used]).map(move |exchange| {
            let exchange = Exchange {
                messages: exchange.messages.get().to_owned(),
                raw_answer: exchange.raw_answer,
                usage: exchange.usage,
            };
            recorded(&lm, exchange)
        })
    });
    Ok(exchanges.collect())
}

fn recorded(lm: &str, exchange: Exchange) -> RecordedAnswer {
    RecordedAnswer {
        question: question(lm, &exchange.messages),
        answer: LmResponse {
            text: exchange.raw_answer,
            usage: exchange.usage,
        },
    }
}
