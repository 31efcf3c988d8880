//! A service of the tests' own, rows, and what is asked for.

use crate::support::finetune_services::{FinetuneServices, KEY_VARIABLE, ServicesState};
use bsft::artifacts::DirArtifacts;
use bsft::finetune::{
    FinetuneJob, FireworksSpec, Provider, ProviderError, ProviderSpec, Providers, ServiceSpec, StartError,
    TrainingId, TrainingProgress, TrainingRequest, TrainingSpec, TrainingState,
};
use bsft::key_ring::KeyRing;
use bsft::task::RunId;
use bsft::training_file::TrainingFile;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef";
pub(super) const OTHER_KEY: &str = "fedcba9876543210fedcba9876543210";

/// More looks than any job of the server takes.
const LOOKS: usize = 12;

/// More starts than one fault can cost.
const STARTS: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Together,
    Fireworks,
}

pub(super) const BOTH: [Service; 2] = [Service::Together, Service::Fireworks];

impl Service {
    pub(super) fn create(self) -> &'static str {
        match self {
            Service::Together => "POST /v1/fine-tunes",
            Service::Fireworks => "POST /v1/accounts/acme/supervisedFineTuningJobs",
        }
    }

    fn model(self) -> &'static str {
        match self {
            Service::Together => "openai/Qwen/Qwen3-0.6B",
            Service::Fireworks => "openai/accounts/fireworks/models/qwen3-0p6b",
        }
    }

    fn train(self) -> Json {
        match self {
            Service::Together => {
                json!({"n_epochs": 2, "learning_rate": 1e-4, "lora": true, "lora_dropout": 0.1})
            }
            Service::Fireworks => json!({"epochs": 2, "learning_rate": 1e-4, "lora_rank": 8}),
        }
    }
}

/// A service, rows, and what is asked for.
pub(super) struct Scene {
    pub(super) server: FinetuneServices,
    pub(super) folder: tempfile::TempDir,
    pub(super) shard: FinetuneJob,
    pub(super) run: RunId,
}

impl Scene {
    pub(super) fn new(service: Service) -> Scene {
        let server = FinetuneServices::start();
        let folder = tempfile::tempdir().unwrap();
        let shard = FinetuneJob {
            recipe: recipe(service, &server),
            data: rows(folder.path(), "train.jsonl", "question", 5),
            validation: Some(rows(folder.path(), "kept.jsonl", "kept back", 3)),
        };
        Scene {
            server,
            folder,
            shard,
            run: RunId("run-1".to_owned()),
        }
    }

    pub(super) fn provider(&self) -> Arc<dyn Provider> {
        provider(&self.shard.recipe)
    }

    pub(super) fn artifacts(&self) -> DirArtifacts {
        DirArtifacts::new(self.folder.path().to_owned())
    }

    pub(super) fn order<'a>(&'a self, key: &'a str, artifacts: &'a DirArtifacts) -> TrainingRequest<'a> {
        TrainingRequest {
            key,
            run: &self.run,
            shard: &self.shard,
            artifacts,
        }
    }

    /// Finds the training or starts it, as often as a worker would.
    pub(super) async fn started(&self, key: &str) -> TrainingId {
        let (provider, artifacts) = (self.provider(), self.artifacts());
        let order = self.order(key, &artifacts);
        for _ in 0..STARTS {
            if let Some(id) = provider.find(&order).await.unwrap() {
                return id;
            }
            match provider.start(&order).await {
                Ok(id) => return id,
                Err(StartError::Unclear(_) | StartError::NotStarted(ProviderError::Passing(_))) => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{STARTS} starts did not suffice");
    }

    /// Everything that a training shows until it ends, and its end.
    pub(super) async fn ended(&self, id: &TrainingId) -> (Vec<TrainingProgress>, TrainingState) {
        let (provider, artifacts) = (self.provider(), self.artifacts());
        let mut shown = Vec::new();
        for _ in 0..LOOKS {
            match provider.poll(id, &self.order(KEY, &artifacts)).await.unwrap() {
                TrainingState::Running(progress) => shown.push(progress),
                ended => return (shown, ended),
            }
        }
        panic!("still going on: {shown:?}");
    }

    pub(super) async fn tidied(&self, key: &str, id: &TrainingId) -> ServicesState {
        let artifacts = self.artifacts();
        let order = self.order(key, &artifacts);
        self.provider().cleanup(id, &order).await.unwrap();
        self.server.state()
    }

    pub(super) async fn refusal(&self, change: impl FnOnce(&mut TrainingSpec)) -> String {
        let mut recipe = self.shard.recipe.clone();
        change(&mut recipe);
        match provider(&recipe).preflight(&recipe).await {
            Err(ProviderError::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn provider(recipe: &TrainingSpec) -> Arc<dyn Provider> {
    let keys = Arc::new(KeyRing::of_the_author());
    Providers::new(None, keys).get(recipe).unwrap()
}

fn recipe(service: Service, server: &FinetuneServices) -> TrainingSpec {
    let spec = ServiceSpec {
        api_base: Some(server.base()),
        api_key_env: Some(KEY_VARIABLE.to_owned()),
        ..ServiceSpec::default()
    };
    TrainingSpec {
        job: "Hop Questions".to_owned(),
        lm: "student".to_owned(),
        predictor: None,
        model: service.model().to_owned(),
        seed: u64::MAX,
        train: object(service.train()),
        provider: match service {
            Service::Together => ProviderSpec::Together(spec),
            Service::Fireworks => ProviderSpec::Fireworks(FireworksSpec {
                account: "acme".to_owned(),
                service: spec,
            }),
        },
    }
}

pub(super) fn service(recipe: &mut TrainingSpec) -> &mut ServiceSpec {
    match &mut recipe.provider {
        ProviderSpec::Together(spec) | ProviderSpec::Fireworks(FireworksSpec { service: spec, .. }) => spec,
        other => panic!("{other:?}"),
    }
}

pub(super) fn object(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(map) => map,
        other => panic!("{other}"),
    }
}

fn rows(folder: &Path, name: &str, question: &str, rows: usize) -> TrainingFile {
    let mut text = String::new();
    for row in 0..rows {
        let messages = json!([
            {"role": "user", "content": format!("{question} {row}")},
            {"role": "assistant", "content": "answer"},
        ]);
        writeln!(text, "{}", json!({"messages": messages})).unwrap();
    }
    file(folder, name, &text)
}

pub(super) fn file(folder: &Path, name: &str, text: &str) -> TrainingFile {
    std::fs::write(folder.join(name), text).unwrap();
    TrainingFile {
        name: name.to_owned(),
        rows: text.lines().count() as u64,
        bytes: text.len() as u64,
        sha256: hex(&Sha256::digest(text)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// One job, no rows left behind, and nothing that an SDK would not have sent.
pub(super) fn assert_clean(state: &ServicesState, when: &str) {
    assert_eq!(state.jobs.len(), 1, "{when}: {:?}", state.jobs);
    assert!(state.files.is_empty(), "{when}: {:?}", state.files);
    assert!(state.datasets.is_empty(), "{when}: {:?}", state.datasets);
    assert_eq!(state.refused, Vec::<String>::new(), "{when}");
}
