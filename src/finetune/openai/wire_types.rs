//! The server's answers, read leniently: many servers implement this protocol, and each omits something.

use serde_json::Value as Json;

/// The longest id that is accepted, in bytes.
const LONGEST_ID: usize = 256;

/// A fine-tuning job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenAiJob {
    pub(super) id: String,
    pub(super) status: OpenAiJobStatus,
    /// The status as the server names it.
    pub(super) word: String,
    /// `fine_tuned_model`.
    pub(super) model: Option<String>,
    /// Why it failed: `error`, in any of the shapes that servers use.
    pub(super) error: Option<String>,
    /// `trained_tokens`: what is billed.
    pub(super) tokens: Option<u64>,
    /// `training_file` and `validation_file`.
    pub(super) files: Vec<String>,
    /// `metadata.job_key`.
    pub(super) key: Option<String>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenAiJobStatus {
    Succeeded,
    Failed,
    Cancelled,
    /// It has not ended, or its status is unknown.
    GoesOn {
        /// Whether the status is part of the protocol.
        known: bool,
    },
}

impl OpenAiJobStatus {
    fn parse(word: &str) -> OpenAiJobStatus {
        match word.to_ascii_lowercase().as_str() {
            "succeeded" => OpenAiJobStatus::Succeeded,
            "failed" => OpenAiJobStatus::Failed,
            // Servers disagree on the spelling.
            "cancelled" | "canceled" => OpenAiJobStatus::Cancelled,
            "validating_files" | "queued" | "running" | "pausing" | "paused" => {
                OpenAiJobStatus::GoesOn { known: true }
            }
            _ => OpenAiJobStatus::GoesOn { known: false },
        }
    }
}

impl OpenAiJob {
    /// `None` if it has no id, so it is no job.
    pub(super) fn read(json: &Json) -> Option<OpenAiJob> {
        let word = text(json, "status").unwrap_or_default();
        Some(OpenAiJob {
            id: id(json)?,
            status: OpenAiJobStatus::parse(&word),
            word,
            model: text(json, "fine_tuned_model"),
            error: json.get("error").and_then(reason),
            tokens: json.get("trained_tokens").and_then(Json::as_u64),
            files: ["training_file", "validation_file"]
                .into_iter()
                .filter_map(|key| text(json, key))
                .collect(),
            key: json
                .get("metadata")
                .and_then(|metadata| text(metadata, "job_key")),
        })
    }

    /// Whether it ended without a model.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.status, OpenAiJobStatus::Failed | OpenAiJobStatus::Cancelled)
    }

    pub(super) fn has_ended(&self) -> bool {
        !matches!(self.status, OpenAiJobStatus::GoesOn { .. })
    }
}

/// A job's `error`: `{code, message, param}`, possibly empty, or a string.
fn reason(error: &Json) -> Option<String> {
    match error {
        Json::Null => None,
        Json::String(words) => Some(words.clone()),
        other => {
            let message = text(other, "message");
            match (message, text(other, "code"), text(other, "param")) {
                (Some(message), Some(code), Some(param)) => Some(format!("{message} ({code}, at {param})")),
                (Some(message), Some(code), None) => Some(format!("{message} ({code})")),
                (Some(message), None, _) => Some(message),
                (None, Some(code), _) => Some(code),
                // Some servers send `{"code": null, "message": null}` for no error at all.
                (None, None, _) if all_null(other) => None,
                (None, None, _) => Some(other.to_string()),
            }
        }
    }
}

fn all_null(json: &Json) -> bool {
    json.as_object()
        .is_some_and(|members| members.values().all(Json::is_null))
}

/// An uploaded file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    pub(super) id: String,
    pub(super) name: String,
    /// Its length in bytes. `None` if the server omits it.
    pub(super) bytes: Option<u64>,
    /// The processing status of the file. The protocol has deprecated it, but some servers still process files slowly.
    pub(super) status: String,
    /// Why the server refuses the file.
    pub(super) details: Option<String>,
}

impl File {
    pub(super) fn read(json: &Json) -> Option<File> {
        Some(File {
            id: id(json)?,
            name: text(json, "filename").unwrap_or_default(),
            bytes: json.get("bytes").and_then(Json::as_u64),
            status: text(json, "status").unwrap_or_default().to_ascii_lowercase(),
            details: json.get("status_details").and_then(reason),
        })
    }

    /// The server is still checking it and would not train on it yet.
    pub(super) fn is_looked_at(&self) -> bool {
        matches!(
            self.status.as_str(),
            "pending" | "running" | "notrunning" | "processing"
        )
    }

    /// The server found that it cannot train on it, or has deleted it.
    pub(super) fn is_bad(&self) -> bool {
        matches!(
            self.status.as_str(),
            "error" | "failed" | "deleted" | "deleting" | "expired"
        )
    }
}

/// One page of a list, and what to ask for next.
pub(super) struct Page {
    pub(super) items: Vec<Json>,
    /// The id after which the next page begins.
    pub(super) next: Option<String>,
}

impl Page {
    pub(super) fn read(json: Json) -> Page {
        let more = json.get("has_more").and_then(Json::as_bool).unwrap_or(false);
        let last = text(&json, "last_id");
        let items = match json {
            Json::Array(items) => items,
            Json::Object(mut members) => match members.remove("data") {
                Some(Json::Array(items)) => items,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let next = if more {
            last.or_else(|| items.last().and_then(id))
        } else {
            None
        };
        Page { items, next }
    }
}

/// `id`; `None` if it is too long or has control characters.
pub(super) fn id(json: &Json) -> Option<String> {
    text(json, "id").filter(|id| id.len() <= LONGEST_ID && !id.contains(char::is_control))
}

/// A member that is a text and not empty.
pub(super) fn text(json: &Json, key: &str) -> Option<String> {
    let text = json.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn error_of_a_job_is_read_in_every_shape() {
        let error_of =
            |error: Json| OpenAiJob::read(&json!({"id": "j", "error": error})).and_then(|job| job.error);
        assert_eq!(error_of(json!("boom")), Some("boom".to_owned()));
        assert_eq!(
            error_of(json!({"code": "invalid", "message": "bad row", "param": "training_file"})),
            Some("bad row (invalid, at training_file)".to_owned())
        );
        assert_eq!(error_of(json!({"code": "oom"})), Some("oom".to_owned()));
        assert_eq!(error_of(json!({"code": null, "message": null})), None);
        assert_eq!(error_of(json!([7])), Some("[7]".to_owned()));
        assert_eq!(error_of(Json::Null), None);
    }

    #[test]
    fn unknown_job_status_is_not_terminal() {
        for word in ["warming_up", "", "deploying"] {
            assert_eq!(
                OpenAiJobStatus::parse(word),
                OpenAiJobStatus::GoesOn { known: false }
            );
        }
        assert_eq!(
            OpenAiJobStatus::parse("paused"),
            OpenAiJobStatus::GoesOn { known: true }
        );
        assert_eq!(OpenAiJobStatus::parse("canceled"), OpenAiJobStatus::Cancelled);
        assert_eq!(OpenAiJobStatus::parse("Succeeded"), OpenAiJobStatus::Succeeded);
    }

    #[test]
    fn json_without_an_id_is_no_job() {
        assert_eq!(OpenAiJob::read(&json!({"status": "queued"})), None);
        assert_eq!(OpenAiJob::read(&json!("ftjob-1")), None);
        assert_eq!(OpenAiJob::read(&json!({"id": "a\nb"})), None);
    }

    #[test]
    fn page_without_has_more_is_the_last() {
        let next = |json: Json| Page::read(json).next;
        assert_eq!(
            next(json!({"data": [{"id": "a"}, {"id": "b"}], "has_more": true})),
            Some("b".to_owned())
        );
        assert_eq!(
            next(json!({"data": [{"id": "a"}], "has_more": true, "last_id": "z"})),
            Some("z".to_owned())
        );
        assert_eq!(next(json!({"data": [{"id": "a"}]})), None);
        assert_eq!(Page::read(json!([{"id": "a"}])).items.len(), 1);
    }
}
