use super::*;
use crate::artifacts::{ArtifactStore, DirArtifacts};
use crate::finetune::{FinetuneJob, ProviderSpec, TrainingResult, TrainingSpec};
use crate::store::Claim;
use crate::store::embedded::EmbeddedStore;
use crate::task::TaskId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use std::collections::VecDeque;
use std::sync::Mutex;

const TASK: TaskId = TaskId([9; 16]);
const VISIBILITY_DELAY: Duration = Duration::from_secs(60);

/// The answers of a provider to calls of `find` or `start`. The last one repeats.
type Script<T> = Mutex<VecDeque<Result<T, &'static str>>>;

#[derive(Default)]
struct Scripted {
    find: Script<Option<&'static str>>,
    start: Script<&'static str>,
    starts: Mutex<usize>,
    finds: Mutex<usize>,
    chosen: Option<&'static str>,
    polled: Mutex<VecDeque<TrainingState>>,
}

fn next<T: Clone>(script: &Script<T>, default: T) -> Result<T, &'static str> {
    let mut script = script.lock().unwrap();
    match script.len() {
        0 => Ok(default),
        1 => script[0].clone(),
        _ => script.pop_front().unwrap(),
    }
}

fn id(text: &str) -> TrainingId {
    TrainingId(text.to_owned())
}

#[async_trait]
impl Provider for Scripted {
    fn deterministic_id(&self, _: &TrainingRequest<'_>) -> Option<TrainingId> {
        self.chosen.map(id)
    }

    async fn preflight(&self, _: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        *self.finds.lock().unwrap() += 1;
        let found = next(&self.find, None).map_err(|why| ProviderError::Refused(why.to_owned()))?;
        Ok(found.map(id))
    }

    async fn start(&self, _: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        *self.starts.lock().unwrap() += 1;
        match next(&self.start, "started") {
            Ok(started) => Ok(id(started)),
            Err("busy") => Err(ProviderError::Passing("busy".to_owned()).into()),
            Err("no") => Err(ProviderError::Refused("no".to_owned()).into()),
            Err(why) => Err(StartError::Unclear(why.to_owned())),
        }
    }

    async fn poll(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<TrainingState, ProviderError> {
        let next = self.polled.lock().unwrap().pop_front();
        Ok(next.unwrap_or(TrainingState::Running(TrainingProgress::default())))
    }

    async fn cancel(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn cleanup(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}

struct World {
    store: EmbeddedStore,
    run: RunId,
    shard: FinetuneJob,
    artifacts: Box<dyn ArtifactStore>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        World {
            store: EmbeddedStore::open(&dir.path().join("store.redb")).unwrap(),
            run: RunId("run".to_owned()),
            shard: FinetuneJob {
                recipe: TrainingSpec {
                    job: "job".to_owned(),
                    lm: "student".to_owned(),
                    predictor: None,
                    model: "openai/m".to_owned(),
                    seed: 0,
                    train: serde_json::Map::new(),
                    provider: ProviderSpec::Simulated,
                },
                data: TrainingFile {
                    name: "student.jsonl".to_owned(),
                    rows: 1,
                    bytes: 1,
                    sha256: String::new(),
                },
                validation: None,
            },
            artifacts: Box::new(DirArtifacts::new(dir.path().to_owned())),
            _dir: dir,
        }
    }

    fn order(&self) -> TrainingRequest<'_> {
        TrainingRequest {
            key: "key",
            run: &self.run,
            shard: &self.shard,
            artifacts: self.artifacts.as_ref(),
        }
    }

    /// An attempt of a worker without any state but the store's.
    async fn attempt(&self) -> TrainingDriver<'_> {
        match self.store.claim(&self.run, TASK, Duration::ZERO).await.unwrap() {
            Claim::Run { attempt, records, .. } => {
                let attempt = AttemptRef { task: TASK, attempt };
                TrainingDriver::new(&self.store, &self.run, attempt, &records, VISIBILITY_DELAY)
            }
            other => panic!("the task is not free: {other:?}"),
        }
    }

    async fn observe(&self, provider: &Scripted) -> Observation {
        let mut driver = self.attempt().await;
        driver.observe(provider, &self.order()).await.unwrap()
    }

    async fn mark(&self, age: Duration) {
        let ms = now_ms() - u64::try_from(age.as_millis()).unwrap();
        let records = vec![(STARTED_SLOT, ms.to_string().into_bytes())];
        self.store.import(&self.run, TASK, records).await.unwrap();
    }

    async fn id(&self) -> Option<String> {
        let records = self.store.records(&self.run, TASK).await.unwrap();
        TrainingRecord::from_slots(&records).id.map(|id| id.0)
    }
}

fn starts(provider: &Scripted) -> usize {
    *provider.starts.lock().unwrap()
}

fn script<T>(answers: impl IntoIterator<Item = Result<T, &'static str>>) -> Script<T> {
    Mutex::new(answers.into_iter().collect())
}

#[tokio::test(start_paused = true)]
async fn observe_starts_a_training_once_over_several_attempts() {
    let (world, provider) = (World::new(), Scripted::default());
    for _ in 0..5 {
        assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    }
    assert_eq!(starts(&provider), 1);
    assert_eq!(world.id().await.as_deref(), Some("started"));
}

#[tokio::test(start_paused = true)]
async fn observe_finds_a_training_that_the_store_lost() {
    let provider = Scripted {
        find: script([Ok(Some("there"))]),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    assert_eq!(
        (starts(&provider), world.id().await.as_deref()),
        (0, Some("there"))
    );
}

#[tokio::test(start_paused = true)]
async fn observe_repeats_find_after_a_start_without_an_answer() {
    let provider = Scripted {
        find: script([Ok(None), Ok(None), Ok(None), Ok(Some("slow"))]),
        start: script([Err("connection lost")]),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    assert_eq!(
        (starts(&provider), world.id().await.as_deref()),
        (1, Some("slow"))
    );
}

#[tokio::test(start_paused = true)]
async fn observe_repeats_an_unanswered_start_only_after_visibility_delay() {
    let provider = Scripted {
        start: script([Err("connection lost"), Ok("second")]),
        ..Scripted::default()
    };
    let world = World::new();
    for _ in 0..4 {
        assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));
    }
    assert_eq!((starts(&provider), world.id().await), (1, None));

    // The same a minute later, for a worker that has only the stored start time.
    let world = World::new();
    world.mark(VISIBILITY_DELAY * 2).await;
    assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    assert_eq!(
        (starts(&provider), world.id().await.as_deref()),
        (2, Some("second"))
    );
}

#[tokio::test(start_paused = true)]
async fn observe_does_not_restart_at_once_after_a_worker_died_in_start() {
    let (world, provider) = (World::new(), Scripted::default());
    world.mark(Duration::ZERO).await;
    assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));
    assert_eq!(starts(&provider), 0);
}

#[tokio::test(start_paused = true)]
async fn observe_is_unknown_if_find_is_refused_after_a_possible_start() {
    let provider = Scripted {
        find: script([Err("401")]),
        ..Scripted::default()
    };
    let world = World::new();
    world.mark(VISIBILITY_DELAY * 2).await;
    assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));

    // Without a stored start time no training was started, so the task ends.
    let world = World::new();
    let Observation::Ended(ended) = world.observe(&provider).await else {
        panic!("it goes on");
    };
    assert_eq!(ended.training, TrainingState::Failed("401".to_owned()));
    assert_eq!(starts(&provider), 0);
}

#[tokio::test(start_paused = true)]
async fn observe_retries_start_if_the_provider_is_busy_not_if_it_refuses() {
    let provider = Scripted {
        start: script([Err("busy"), Err("no")]),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));
    let Observation::Ended(ended) = world.observe(&provider).await else {
        panic!("it goes on");
    };
    assert_eq!(ended.training, TrainingState::Failed("no".to_owned()));
    assert_eq!(starts(&provider), 2);
}

#[tokio::test(start_paused = true)]
async fn observe_stores_a_deterministic_id_before_start() {
    let provider = Scripted {
        chosen: Some("ours"),
        start: script([Err("connection lost"), Ok("ours")]),
        polled: Mutex::new([TrainingState::Absent, TrainingState::Absent].into()),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));
    assert_eq!(world.id().await.as_deref(), Some("ours"));
    assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    assert_eq!((starts(&provider), *provider.finds.lock().unwrap()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn observe_fails_a_missing_training_only_after_visibility_delay() {
    let provider = || Scripted {
        polled: Mutex::new([TrainingState::Absent].into()),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(
        world.observe(&provider()).await,
        Observation::Unknown(_)
    ));
    let waits = world.attempt().await.cancel(&provider(), &world.order()).await;
    assert!(matches!(waits, Err(ProviderError::Passing(_))), "{waits:?}");
    assert!(matches!(
        world.observe(&Scripted::default()).await,
        Observation::Running(_)
    ));

    let world = World::new();
    let long_ago = now_ms() - u64::try_from(VISIBILITY_DELAY.as_millis()).unwrap();
    let records = vec![
        (STARTED_SLOT, long_ago.to_string().into_bytes()),
        (ID_SLOT, b"started".to_vec()),
    ];
    world.store.import(&world.run, TASK, records).await.unwrap();
    let provider = provider();
    let Observation::Ended(ended) = world.observe(&provider).await else {
        panic!("it goes on");
    };
    assert!(matches!(ended.training, TrainingState::Failed(_)));
    assert_eq!(starts(&provider), 0);
}

#[tokio::test(start_paused = true)]
async fn observe_applies_visibility_delay_to_a_found_training() {
    let provider = Scripted {
        find: script([Ok(Some("there"))]),
        polled: Mutex::new([TrainingState::Absent].into()),
        ..Scripted::default()
    };
    let world = World::new();
    assert!(matches!(world.observe(&provider).await, Observation::Unknown(_)));
    assert!(matches!(world.observe(&provider).await, Observation::Running(_)));
    assert_eq!(
        (world.id().await.as_deref(), starts(&provider)),
        (Some("there"), 0)
    );
}

#[tokio::test(start_paused = true)]
async fn cancel_stops_only_trainings_that_may_have_started() {
    let provider = Scripted {
        find: script([Ok(Some("lost"))]),
        ..Scripted::default()
    };
    let world = World::new();
    let mut driver = world.attempt().await;
    let nothing = driver.cancel(&provider, &world.order()).await.unwrap();
    assert_eq!(nothing, None);

    // A training that the provider may not list yet is unknown.
    let unseen = Scripted::default();
    let world = World::new();
    world.mark(Duration::ZERO).await;
    let waits = world.attempt().await.cancel(&unseen, &world.order()).await;
    assert!(matches!(waits, Err(ProviderError::Passing(_))), "{waits:?}");

    world.mark(Duration::ZERO).await;
    let mut driver = world.attempt().await;
    let ended = driver.cancel(&provider, &world.order()).await.unwrap();
    assert_eq!(
        ended,
        Some(TrainingOutcome {
            id: Some(id("lost")),
            training: TrainingState::Cancelled
        })
    );

    // A training that has ended in the meantime keeps its outcome.
    let model = TrainingState::Succeeded(TrainingResult::default());
    provider.polled.lock().unwrap().push_back(model.clone());
    let mut driver = world.attempt().await;
    let ended = driver.cancel(&provider, &world.order()).await.unwrap();
    assert_eq!(ended.map(|ended| ended.training), Some(model));
}
