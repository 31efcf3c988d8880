//! Uploaded rows: named after the order's key, so that they are found again and uploaded once.

use super::super::http::{CallError, Http, Upload};
use super::super::{ProviderError, TrainingFile, TrainingRequest};
use super::OWN;
use super::wire_types::{File, Page};
use crate::artifacts::ArtifactError;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Where the files are.
const FILES: &[&str] = &["files"];

const PURPOSE: (&str, &str) = ("purpose", "fine-tune");

/// Files on a page: the protocol gives 10,000 unasked, a body larger than need be.
const PAGE: &str = "1000";

/// Pages that are read of the list.
const MOST_PAGES: usize = 20;

/// The largest file that OpenAI accepts in one request, in bytes. Other servers report their own limits.
const LARGEST_FILE: u64 = 512_000_000;

/// What Azure wants in front of the rows.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What a file's rows are for.
#[derive(Clone, Copy)]
pub(super) enum OpenAiRows {
    /// To train on.
    Training,
    /// To measure with.
    Validation,
}

impl OpenAiRows {
    fn file_name(self, key: &str) -> String {
        match self {
            OpenAiRows::Training => format!("{key}.jsonl"),
            OpenAiRows::Validation => format!("{key}-validation.jsonl"),
        }
    }

    /// Sees to it that the rows are at the server, ready to be trained on; gives their id there.
    pub(super) async fn there(
        self,
        http: &Http,
        order: &TrainingRequest<'_>,
        file: &TrainingFile,
        marked: bool,
    ) -> Result<String, ProviderError> {
        let name = self.file_name(order.key);
        let bytes = if marked {
            file.bytes + BYTE_ORDER_MARK.len() as u64
        } else {
            file.bytes
        };
        let is_ours = |file: &File| file.name == name && file.bytes.is_none_or(|length| length == bytes);
        let uploaded = listed(http).await?.into_iter();
        let found = match uploaded.filter(|file| !file.is_bad()).find(is_ours) {
            Some(found) => found,
            None => upload(http, order, file, &name, marked).await?,
        };
        if found.is_bad() {
            let details = found.details.unwrap_or(found.status);
            return Err(ProviderError::Refused(format!(
                "the server does not take the rows ({}): {}",
                found.id,
                http.redact(&details)
            )));
        }
        if found.is_looked_at() {
            Err(ProviderError::Passing(format!(
                "the server still looks at the rows ({})",
                found.id
            )))
        } else {
            Ok(found.id)
        }
    }
}

async fn upload(
    http: &Http,
    order: &TrainingRequest<'_>,
    file: &TrainingFile,
    name: &str,
    marked: bool,
) -> Result<File, ProviderError> {
    if file.bytes > LARGEST_FILE && http.redacted_url().starts_with(OWN) {
        return Err(ProviderError::Refused(format!(
            "the rows are {} MB and OpenAI takes {} MB; train on fewer with a smaller trainset",
            file.bytes / 1_000_000,
            LARGEST_FILE / 1_000_000
        )));
    }
    let folder = tempfile::tempdir().map_err(ArtifactError::with_path(std::env::temp_dir()))?;
    let plain = folder.path().join("rows.jsonl");
    order.fetch(file, &plain).await?;
    let path = if marked {
        tokio::task::spawn_blocking(move || mark(&plain))
            .await
            .unwrap_or_else(|gone| Err(ArtifactError::with_path("copying")(io::Error::other(gone))))?
    } else {
        plain
    };
    let upload = Upload {
        fields: &[PURPOSE],
        part: "file",
        name,
        path: &path,
    };
    // Where the answer is lost, the next start finds the file by its name.
    let answer = http.upload(FILES, &upload).await?;
    File::read(&answer).ok_or_else(|| {
        let excerpt = http.redact(&answer.to_string());
        ProviderError::Passing(format!(
            "{}: no file id in the answer to an upload: {excerpt}",
            http.redacted_url()
        ))
    })
}

/// A copy with the mark in front.
fn mark(plain: &Path) -> Result<PathBuf, ArtifactError> {
    let marked = plain.with_extension("marked.jsonl");
    let mut to = fs::File::create(&marked).map_err(ArtifactError::with_path(&marked))?;
    let mut from = fs::File::open(plain).map_err(ArtifactError::with_path(plain))?;
    to.write_all(BYTE_ORDER_MARK)
        .map_err(ArtifactError::with_path(&marked))?;
    io::copy(&mut from, &mut to).map_err(ArtifactError::with_path(&marked))?;
    Ok(marked)
}

/// The ids of what was uploaded for that key.
pub(super) async fn of_key(http: &Http, key: &str) -> Result<Vec<String>, ProviderError> {
    let names = [OpenAiRows::Training, OpenAiRows::Validation].map(|rows| rows.file_name(key));
    let uploaded = listed(http).await?.into_iter();
    Ok(uploaded
        .filter(|file| names.contains(&file.name))
        .map(|file| file.id)
        .collect())
}

/// The files that were uploaded for training. Empty if the server does not list them.
async fn listed(http: &Http) -> Result<Vec<File>, ProviderError> {
    let mut files = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let mut query = vec![PURPOSE, ("limit", PAGE)];
        if let Some(after) = &after {
            query.push(("after", after));
        }
        let page = match http.get(FILES, &query).await {
            Ok(answer) => Page::read(answer),
            Err(error) if error.is_not_implemented() => break,
            Err(error) => return Err(error.into()),
        };
        files.extend(page.items.iter().filter_map(File::read));
        if page.next.is_none() || page.next == after {
            break;
        }
        after = page.next;
    }
    Ok(files)
}

/// Deletes the files that were uploaded for the key, and those that the job names: a server may list no files.
pub(super) async fn cleanup(http: &Http, key: &str, job_files: Vec<String>) -> Result<(), ProviderError> {
    let mut uploaded = of_key(http, key).await?;
    uploaded.extend(job_files);
    uploaded.sort();
    uploaded.dedup();
    for file in uploaded {
        match http.delete(&[FILES, &[&file]].concat()).await {
            Ok(_) => {}
            Err(error @ CallError::Refused(_)) if matches!(error.status(), Some(404 | 410)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_puts_a_byte_order_mark_before_the_rows() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("rows.jsonl");
        fs::write(&plain, "{}\n").unwrap();
        let marked = fs::read(mark(&plain).unwrap()).unwrap();
        assert_eq!(marked, b"\xef\xbb\xbf{}\n");
    }
}
