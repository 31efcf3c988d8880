//! Uploads of training rows to Together: announce the file, upload it to a signed address, wait for its check, delete it at the end.

use crate::artifacts::ArtifactError;
use crate::backoff::Backoff;
use crate::finetune::http::{CallError, Http, HttpRefusal, Put};
use crate::finetune::{ProviderError, TrainingRequest};
use crate::training_file::TrainingFile;
use serde_json::Value as Json;

/// The maximum file size: 5 GiB. The SDK uploads larger files in parts, which is not implemented here.
const LARGEST: u64 = 5 << 30;

/// How many times a file is polled while the service checks it, over a minute or two. After that the job is created anyway; the SDK
/// does not wait at all.
const LOOKS: u32 = 30;

/// Uploads the file unless a valid file of that name exists, waits for its check and returns its id.
pub(super) async fn ensure(
    http: &Http,
    order: &TrainingRequest<'_>,
    file: &TrainingFile,
    name: &str,
) -> Result<String, ProviderError> {
    if file.bytes > LARGEST {
        return Err(ProviderError::Refused(format!(
            "{} has {} bytes, and files of more than {LARGEST} cannot be sent to Together: train on fewer examples",
            file.name, file.bytes
        )));
    }
    let known = named(http, &[name]).await?;
    let whole = known.iter().find(|known| is_whole(known, file));
    let id = match whole.and_then(|known| Some((known, known["id"].as_str()?))) {
        Some((known, id)) => {
            finish(http, known, id).await?;
            id.to_owned()
        }
        None => upload(http, order, file, name).await?,
    };
    checked(http, &id).await?;
    Ok(id)
}

/// The files with these names.
pub(super) async fn named(http: &Http, names: &[&str]) -> Result<Vec<Json>, ProviderError> {
    let answer = http.get(&["files"], &[]).await?;
    let files = answer["data"].as_array().cloned().unwrap_or_default();
    let is_ours = |file: &Json| names.iter().any(|name| file["filename"] == *name);
    Ok(files.into_iter().filter(is_ours).collect())
}

/// Deletes a file. A missing file is no error.
pub(super) async fn delete(http: &Http, id: &str) -> Result<(), ProviderError> {
    match http.delete(&["files", id]).await {
        Ok(_) => Ok(()),
        Err(error) if error.status() == Some(404) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_whole(known: &Json, file: &TrainingFile) -> bool {
    known["bytes"] == file.bytes && !is_bad(known)
}

fn is_bad(file: &Json) -> bool {
    matches!(
        file["processing_status"].as_str(),
        Some("FAILED" | "INVALID_FORMAT")
    )
}

async fn upload(
    http: &Http,
    order: &TrainingRequest<'_>,
    file: &TrainingFile,
    name: &str,
) -> Result<String, ProviderError> {
    let refusal = match announce(http, file, name).await? {
        Announced::Known(id) => {
            let known = http.get(&["files", &id], &[]).await?;
            if is_whole(&known, file) {
                finish(http, &known, &id).await?;
                return Ok(id);
            }
            // The file was announced by an earlier attempt and never uploaded.
            delete(http, &id).await?;
            match announce(http, file, name).await? {
                Announced::Known(id) => {
                    let why = format!("Together knows the rows as {id}, but not whole; trying again");
                    return Err(ProviderError::Passing(why));
                }
                Announced::Sent(refusal) => refusal,
            }
        }
        Announced::Sent(refusal) => refusal,
    };
    let header = refusal.response.headers.get("x-together-file-id");
    let id = header.and_then(|id| id.to_str().ok()).filter(|id| is_safe(id));
    let (Some(id), Some(address)) = (id, &refusal.location) else {
        let why = format!(
            "{}: the answer names no file or no address to put it at",
            refusal.message
        );
        return Err(ProviderError::Refused(why));
    };
    let folder = tempfile::tempdir().map_err(ArtifactError::with_path(std::env::temp_dir()))?;
    let path = folder.path().join("rows.jsonl");
    order.fetch(file, &path).await?;
    let put = Put {
        path: &path,
        headers: &[],
    };
    http.put(address, &put).await?;
    preprocess(http, id).await?;
    Ok(id.to_owned())
}

/// Reports that the upload is complete.
async fn preprocess(http: &Http, id: &str) -> Result<(), CallError> {
    http.post(&["files", id, "preprocess"], None).await?;
    Ok(())
}

/// Completes the upload of an earlier attempt, which may have crashed before it did. Completing it twice is no error.
async fn finish(http: &Http, known: &Json, id: &str) -> Result<(), ProviderError> {
    if known["processing_status"] != "PENDING" {
        return Ok(());
    }
    match preprocess(http, id).await {
        Err(CallError::Refused(refusal)) => {
            tracing::debug!(why = refusal.message, file = id, "not looked at once more");
            Ok(())
        }
        other => Ok(other?),
    }
}

/// The result of announcing a file.
enum Announced {
    /// A file with this checksum exists.
    Known(String),
    /// A redirect with the upload address.
    Sent(HttpRefusal),
}

async fn announce(http: &Http, file: &TrainingFile, name: &str) -> Result<Announced, ProviderError> {
    let fields = [
        ("purpose", "fine-tune"),
        ("file_name", name),
        ("file_type", "jsonl"),
        ("checksum", &file.sha256),
    ];
    match http.form(&["files"], &fields).await {
        Err(CallError::Refused(refusal)) => match (refusal.status, refusal.response.body["file_id"].as_str())
        {
            (300..=399, _) => Ok(Announced::Sent(refusal)),
            (409, Some(id)) => Ok(Announced::Known(id.to_owned())),
            _ => Err(CallError::Refused(refusal).into()),
        },
        Err(error) => Err(error.into()),
        Ok(_) => Err(ProviderError::Refused(format!(
            "{} accepted a file without an upload address: it does not implement Together's protocol; correct api_base",
            http.redacted_url()
        ))),
    }
}

/// Whether an id is safe in a path.
fn is_safe(id: &str) -> bool {
    !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Waits while the service checks the rows.
async fn checked(http: &Http, id: &str) -> Result<(), ProviderError> {
    let mut backoff = Backoff::default();
    for _ in 0..LOOKS {
        let file = http.get(&["files", id], &[]).await?;
        if is_bad(&file) {
            let why = file["validation_report"]["error"]
                .as_str()
                .unwrap_or("no reason given");
            let why = format!("Together does not take the training rows: {}", http.redact(why));
            return Err(ProviderError::Refused(why));
        }
        match file["processing_status"].as_str() {
            Some("PENDING" | "QUEUED" | "RUNNING") => backoff.pause().await,
            _ => break,
        }
    }
    Ok(())
}
