//! Uploads of training rows to Fireworks: a dataset with an id that bsft chooses, whose file the service then validates.

use super::resource_names::account;
use crate::artifacts::ArtifactError;
use crate::backoff::Backoff;
use crate::finetune::http::{CallError, Http, Put, Upload};
use crate::finetune::{FireworksSpec, ProviderError, TrainingRequest};
use crate::training_file::TrainingFile;
use serde_json::{Value as Json, json};
use std::path::Path;

/// The maximum size of a direct upload by the SDK's documentation: 150 MB. Larger files go to a signed address.
const LARGEST_FORM: u64 = 150_000_000;

/// How many times a dataset is polled until it is ready, over some five minutes.
const LOOKS: u32 = 120;

/// One dataset, which may not exist yet.
pub(super) struct Dataset<'a> {
    pub(super) http: &'a Http,
    pub(super) spec: &'a FireworksSpec,
    pub(super) id: &'a str,
}

impl Dataset<'_> {
    /// Creates the dataset and uploads the file, unless an earlier attempt did. Returns when the dataset is ready.
    pub(super) async fn ensure(
        &self,
        order: &TrainingRequest<'_>,
        file: &TrainingFile,
    ) -> Result<(), ProviderError> {
        match self.get().await? {
            Some(dataset) if is_ready(&dataset) => return Ok(()),
            // A rejected file stays in its dataset, so the dataset is deleted.
            Some(dataset) if refusal(&dataset).is_some() => {
                self.delete().await?;
                self.create(file).await?;
            }
            Some(_) => {}
            None => self.create(file).await?,
        }
        let folder = tempfile::tempdir().map_err(ArtifactError::with_path(std::env::temp_dir()))?;
        let path = folder.path().join("rows.jsonl");
        order.fetch(file, &path).await?;
        if let Err(error) = self.send(file, &path).await {
            // The file of an earlier attempt may be there, still being validated.
            match (error.status(), self.get().await?) {
                (Some(400 | 409), Some(dataset)) if refusal(&dataset).is_none() => {
                    tracing::debug!(%error, dataset = self.id, "rows were already uploaded");
                }
                _ => return Err(error.into()),
            }
        }
        self.ready().await
    }

    /// Deletes the dataset. A missing dataset is no error.
    pub(super) async fn delete(&self) -> Result<(), ProviderError> {
        match self.http.delete(&self.path(self.id)).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn path<'p>(&'p self, id: &'p str) -> [&'p str; 4] {
        ["accounts", account(self.spec), "datasets", id]
    }

    async fn get(&self) -> Result<Option<Json>, ProviderError> {
        match self.http.get(&self.path(self.id), &[]).await {
            Ok(dataset) => Ok(Some(dataset)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, file: &TrainingFile) -> Result<(), ProviderError> {
        let body = json!({
            "datasetId": self.id,
            "dataset": {"userUploaded": {}, "format": "CHAT", "exampleCount": file.rows.to_string()},
        });
        match self.http.post(&self.path("")[..3], Some(&body)).await {
            Ok(_) => Ok(()),
            Err(error) if error.status() == Some(409) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn send(&self, file: &TrainingFile, path: &Path) -> Result<(), CallError> {
        let name = format!("{}.jsonl", self.id);
        if file.bytes > LARGEST_FORM {
            return self.send_signed(file, path, &name).await;
        }
        let upload = Upload {
            fields: &[],
            part: "file",
            name: &name,
            path,
        };
        let id = format!("{}:upload", self.id);
        self.http.upload(&self.path(&id), &upload).await?;
        Ok(())
    }

    async fn send_signed(&self, file: &TrainingFile, path: &Path, name: &str) -> Result<(), CallError> {
        let id = format!("{}:getUploadEndpoint", self.id);
        let body = json!({"filenameToSize": {name: file.bytes.to_string()}});
        let answer = self.http.post(&self.path(&id), Some(&body)).await?;
        let Some(address) = answer["filenameToSignedUrls"][name].as_str() else {
            let why = format!("Fireworks names no address to put {name} at");
            return Err(CallError::Garbled(why));
        };
        let range = format!("{0},{0}", file.bytes);
        // Both headers are part of the signature.
        let headers = [
            ("Content-Type", "application/octet-stream"),
            ("X-Goog-Content-Length-Range", range.as_str()),
        ];
        let put = Put {
            path,
            headers: &headers,
        };
        self.http.put(address, &put).await?;
        let id = format!("{}:validateUpload", self.id);
        self.http.post(&self.path(&id), Some(&json!({}))).await?;
        Ok(())
    }

    async fn ready(&self) -> Result<(), ProviderError> {
        let mut backoff = Backoff::default();
        for _ in 0..LOOKS {
            let Some(dataset) = self.get().await? else {
                let why = format!("the dataset {} was deleted while it was filled", self.id);
                return Err(ProviderError::Passing(why));
            };
            if is_ready(&dataset) {
                return Ok(());
            }
            if let Some(why) = refusal(&dataset) {
                let why = format!(
                    "Fireworks does not take the training rows: {}",
                    self.http.redact(why)
                );
                return Err(ProviderError::Refused(why));
            }
            backoff.pause().await;
        }
        Err(ProviderError::Passing(format!(
            "the dataset {} is not ready yet",
            self.id
        )))
    }
}

fn is_ready(dataset: &Json) -> bool {
    dataset["state"] == "READY"
}

/// Why the service rejected the file. `None` if it did not.
fn refusal(dataset: &Json) -> Option<&str> {
    let status = &dataset["status"];
    match status["code"].as_str() {
        None | Some("OK") => None,
        Some(code) => Some(
            status["message"]
                .as_str()
                .filter(|why| !why.is_empty())
                .unwrap_or(code),
        ),
    }
}
