//! The life of a training, with a scripted trainer that is controlled by a file.

mod cancel;
mod resume_and_restart;
mod trainer_input;
mod training_end;

use super::process::environment;
use super::procfs;
use super::work_dir::{self, WorkDir};
use super::{Trainers, stop_all, unfinished};
use crate::artifacts::{ArtifactStore, DirArtifacts};
use crate::finetune::{
    CommandSpec, FinetuneJob, Provider, ProviderError, ProviderSpec, Providers, TrainingId, TrainingRequest,
    TrainingResult, TrainingSpec, TrainingState,
};
use crate::hex::hex;
use crate::key_ring::KeyRing;
use crate::task::RunId;
use crate::training_file::TrainingFile;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const KEY: &str = "00112233445566778899aabbccddeeff";

/// Counts its starts, prints its input, then executes `order`, a file of shell commands.
const TRAINER: &str = r#"
echo start >> "$1/starts"
printf '%s\n' "$@" > "$1/arguments"
env > "$1/environment.tmp"; mv "$1/environment.tmp" "$1/environment"
while :; do
  if mv "$1/order" "$1/taken" 2>/dev/null; then . "$1/taken"; fi
  sleep 0.02
done
"#;

/// Seconds from TERM to KILL: more than a trainer that obeys TERM takes on any machine.
const GRACE: &str = "600";

/// A trainer's orders.
const SUCCEED: &str = "echo weights > \"$FT_OUTPUT_DIR/model.safetensors\"; exit 0";

struct TrainerFixture {
    folder: tempfile::TempDir,
    artifacts: DirArtifacts,
    shard: FinetuneJob,
    run: RunId,
}

impl TrainerFixture {
    fn new(entry: &str) -> TrainerFixture {
        let row =
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
        TrainerFixture::with_rows(entry, &format!("{row}\n{row}\n"), 2)
    }

    fn with_rows(entry: &str, rows: &str, count: u64) -> TrainerFixture {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        fs::create_dir(at.join("data")).unwrap();
        fs::create_dir(at.join("control")).unwrap();
        fs::write(at.join("data/rows.jsonl"), rows).unwrap();
        fs::write(at.join("trainer.sh"), TRAINER).unwrap();
        let control = at.join("control");
        let text = format!(
            "[trainer.t]\nargv = ['sh', '{{config_dir}}/trainer.sh', '{}', '{{base_model}}', ['--lr', '{{lr}}'], \
             ['--resume', '{{resume_dir}}']]\ncancel = {{ grace_secs = {GRACE} }}\n{entry}\n",
            control.display()
        );
        fs::write(at.join("trainers.toml"), text).unwrap();
        let data = TrainingFile {
            name: "rows.jsonl".to_owned(),
            rows: count,
            bytes: rows.len() as u64,
            sha256: hex(&Sha256::digest(rows)),
        };
        let recipe = TrainingSpec {
            job: "job".to_owned(),
            lm: "student".to_owned(),
            predictor: None,
            model: "openai/base/model".to_owned(),
            seed: 7,
            train: Map::new(),
            provider: ProviderSpec::Command(CommandSpec {
                trainer: "t".to_owned(),
            }),
        };
        TrainerFixture {
            artifacts: DirArtifacts::new(at.join("data")),
            folder,
            shard: FinetuneJob {
                recipe,
                data,
                validation: None,
            },
            run: RunId("run".to_owned()),
        }
    }

    /// A trainer that gets KILL soon after TERM.
    fn impatient(self) -> TrainerFixture {
        let path = self.folder.path().join("trainers.toml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, before.replace(GRACE, "0.3")).unwrap();
        self
    }

    /// Adds to the trainer's entry.
    fn entry(&mut self, text: &str) {
        let path = self.folder.path().join("trainers.toml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{before}\n{text}\n")).unwrap();
    }

    fn train(mut self, key: &str, value: impl Into<Json>) -> TrainerFixture {
        self.shard.recipe.train.insert(key.to_owned(), value.into());
        self
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let trainers = Trainers::read(&self.folder.path().join("trainers.toml")).unwrap();
        Providers::new(Some(Arc::new(trainers)), Arc::new(KeyRing::well_known()))
            .get(&self.shard.recipe)
            .unwrap()
    }

    fn order(&self) -> TrainingRequest<'_> {
        let artifacts: &dyn ArtifactStore = &self.artifacts;
        TrainingRequest {
            key: KEY,
            run: &self.run,
            shard: &self.shard,
            artifacts,
        }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("trainings").join(KEY)
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("trainings")
    }

    fn control(&self, name: &str) -> PathBuf {
        self.folder.path().join("control").join(name)
    }

    fn written(&self, name: &str) -> String {
        fs::read_to_string(self.control(name)).unwrap_or_default()
    }

    fn command(&self, order: &str) {
        fs::write(self.control("order.tmp"), order).unwrap();
        fs::rename(self.control("order.tmp"), self.control("order")).unwrap();
    }

    fn starts(&self) -> usize {
        self.written("starts").lines().count()
    }

    /// Waits until the trainer has started `starts` times and printed everything.
    async fn started(&self, starts: usize) {
        until(|| self.starts() >= starts && self.control("environment").exists()).await;
    }

    fn pid(&self) -> i32 {
        fs::read_to_string(self.work().join("pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap()
    }

    /// Polls until the training has ended.
    async fn outcome(&self, provider: &dyn Provider) -> TrainingState {
        let id = provider.deterministic_id(&self.order()).unwrap();
        loop {
            match provider.poll(&id, &self.order()).await.unwrap() {
                TrainingState::Running(_) => pause().await,
                ended => return ended,
            }
        }
    }

    async fn start(&self, provider: &dyn Provider) -> TrainingId {
        let id = provider.start(&self.order()).await.unwrap();
        self.started(1).await;
        id
    }
}

impl Drop for TrainerFixture {
    fn drop(&mut self) {
        // A test that failed leaves no trainer behind.
        for work in work_dir::all_in(&self.dir()) {
            if let Some(proc) = work.proc() {
                procfs::signal_group(proc.pid, rustix::process::Signal::KILL);
            }
        }
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Waits until the condition holds. It has no timeout: the test runner ends a test that hangs.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        pause().await;
    }
}

fn failure(training: TrainingState) -> String {
    match training {
        TrainingState::Failed(why) => why,
        other => panic!("it did not fail: {other:?}"),
    }
}

fn success(training: TrainingState) -> TrainingResult {
    match training {
        TrainingState::Succeeded(trained) => trained,
        other => panic!("it did not succeed: {other:?}"),
    }
}
