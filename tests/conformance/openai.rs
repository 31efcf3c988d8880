//! The fine-tune provider `openai` against a strict server, and against a lenient one: however it goes wrong, one job is made.

use crate::support::openai_server::OpenaiServer;
use crate::support::{LmServer, ReservedPort};
use bsft::artifacts::DirArtifacts;
use bsft::finetune::{
    FinetuneJob, Provider, ProviderError, ProviderSpec, Providers, ServiceSpec, StartError, TrainingId,
    TrainingRequest, TrainingResult, TrainingSpec, TrainingState,
};
use bsft::key_ring::KeyRing;
use bsft::task::RunId;
use bsft::training_file::TrainingFile;
use futures_util::stream::{self, StreamExt as _};
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use tempfile::TempDir;

const KEY: &str = "00112233445566778899aabbccddeeff";

/// A variable that every process has; its value is the key.
const VARIABLE: &str = "PATH";

/// The maximum number of starts and of polls before a test gives up.
const TRIES: usize = 6;
const LOOKS: usize = 30;

/// Trainings at once, where a test needs many.
const AT_ONCE: usize = 8;

/// A server with these switches, which takes the customer's key only.
fn serve(switches: &[&str]) -> OpenaiServer {
    let key = format!("key={}", std::env::var(VARIABLE).unwrap());
    OpenaiServer::start(&[&[key.as_str()], switches].concat())
}

/// A customer with rows to train on.
struct Customer {
    data: TempDir,
    shard: FinetuneJob,
    run: RunId,
}

impl Customer {
    fn new(base: &str) -> Customer {
        let mut customer = Customer {
            data: TempDir::new().unwrap(),
            shard: FinetuneJob {
                recipe: TrainingSpec {
                    job: "Sums & more".to_owned(),
                    lm: "small".to_owned(),
                    predictor: None,
                    model: "openai/org/base-model".to_owned(),
                    seed: u64::MAX,
                    train: Map::new(),
                    provider: ProviderSpec::Simulated,
                },
                data: TrainingFile {
                    name: String::new(),
                    rows: 0,
                    bytes: 0,
                    sha256: String::new(),
                },
                validation: None,
            },
            run: RunId("run-1".to_owned()),
        };
        customer.shard.data = customer.rows("train.jsonl", 12);
        customer.configure(|spec| {
            spec.api_base = Some(base.to_owned());
            spec.api_key_env = Some(VARIABLE.to_owned());
        });
        customer
    }

    /// The same with a changed service.
    fn configure(&mut self, change: impl FnOnce(&mut ServiceSpec)) {
        let mut spec = match &self.shard.recipe.provider {
            ProviderSpec::Openai(spec) => spec.clone(),
            _ => ServiceSpec::default(),
        };
        change(&mut spec);
        self.shard.recipe.provider = ProviderSpec::Openai(spec);
    }

    fn trains_with(&mut self, arguments: Json) {
        self.shard.recipe.train = object(arguments);
    }

    fn rows(&self, name: &str, rows: u64) -> TrainingFile {
        let mut text = String::new();
        for row in 0..rows {
            let messages = json!({"messages": [
                {"role": "user", "content": format!("{row}\u{2028}+ 1 «?»")},
                {"role": "assistant", "content": (row + 1).to_string()},
            ]});
            writeln!(text, "{messages}").unwrap();
        }
        fs::write(self.data.path().join(name), &text).unwrap();
        let digest = Sha256::digest(&text);
        TrainingFile {
            name: name.to_owned(),
            rows,
            bytes: text.len() as u64,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }

    fn provider(&self) -> Arc<dyn Provider> {
        let keys = Arc::new(KeyRing::of_the_author());
        Providers::new(None, keys).get(&self.shard.recipe).unwrap()
    }

    async fn preflight(&self) -> Result<Vec<String>, String> {
        let checked = self.provider().preflight(&self.shard.recipe).await;
        checked.map_err(|error| error.to_string())
    }

    /// Does something with the order under this key.
    async fn with<T>(&self, key: &str, act: impl AsyncFnOnce(&dyn Provider, &TrainingRequest<'_>) -> T) -> T {
        let artifacts = DirArtifacts::new(self.data.path().to_owned());
        let order = TrainingRequest {
            key,
            run: &self.run,
            shard: &self.shard,
            artifacts: &artifacts,
        };
        act(self.provider().as_ref(), &order).await
    }

    /// Trains to the end and tidies up, as a worker does but for its waits.
    async fn train(&self) -> TrainingState {
        self.with(KEY, async |provider, order| {
            let id = match started(provider, order).await {
                Ok(id) => id,
                Err(reason) => return TrainingState::Failed(reason),
            };
            let training = ended(provider, order, &id).await;
            provider.cleanup(&id, order).await.unwrap();
            training
        })
        .await
    }

    async fn start(&self, key: &str) -> TrainingId {
        self.with(key, async |provider, order| {
            started(provider, order).await.unwrap()
        })
        .await
    }
}

/// Finds the training or starts it.
async fn started(provider: &dyn Provider, order: &TrainingRequest<'_>) -> Result<TrainingId, String> {
    for _ in 0..TRIES {
        if let Some(id) = found(provider, order).await {
            return Ok(id);
        }
        match provider.start(order).await {
            Ok(id) => return Ok(id),
            Err(StartError::NotStarted(ProviderError::Passing(_))) => {}
            Err(StartError::NotStarted(error)) => return Err(error.to_string()),
            Err(StartError::Unclear(_)) => {
                // A worker looks a few times before it believes that nothing was started.
                for _ in 0..TRIES {
                    if let Some(id) = found(provider, order).await {
                        return Ok(id);
                    }
                }
            }
        }
    }
    panic!("{TRIES} starts came to nothing");
}

async fn found(provider: &dyn Provider, order: &TrainingRequest<'_>) -> Option<TrainingId> {
    for _ in 0..TRIES {
        match provider.find(order).await {
            Ok(found) => return found,
            Err(ProviderError::Passing(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the provider cannot look for it");
}

async fn ended(provider: &dyn Provider, order: &TrainingRequest<'_>, id: &TrainingId) -> TrainingState {
    for _ in 0..LOOKS {
        match provider.poll(id, order).await {
            Ok(TrainingState::Running(_)) | Err(ProviderError::Passing(_)) => {}
            Ok(training) => return training,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the training does not end");
}

fn object(json: Json) -> Map<String, Json> {
    json.as_object().unwrap().clone()
}

fn trained(training: TrainingState) -> TrainingResult {
    match training {
        TrainingState::Succeeded(trained) => trained,
        other => panic!("{other:?}"),
    }
}

fn failed(training: TrainingState) -> String {
    match training {
        TrainingState::Failed(reason) => reason,
        other => panic!("{other:?}"),
    }
}

/// One job, no file left behind, and nothing asked that the protocol does not have.
fn assert_one_job(server: &OpenaiServer) {
    let state = server.state();
    assert_eq!(state.violations, Vec::<String>::new());
    assert_eq!(state.jobs.len(), 1, "{:?}", state.requests);
    assert_eq!(state.files, Vec::<Json>::new());
}

/// Trains with these switches on; there must be one job and a model in the end.
async fn trains_once(switches: &[&str]) -> (OpenaiServer, TrainingResult) {
    let server = serve(switches);
    let customer = Customer::new(&server.base());
    let trained = trained(customer.train().await);
    assert_one_job(&server);
    (server, trained)
}

#[tokio::test]
async fn training_returns_model_tokens_and_loss() {
    let (server, trained) = trains_once(&[]).await;
    let model = trained.model.unwrap();
    assert!(
        model.starts_with("ft:org/base-model:org-test:sums-more-small:"),
        "{model}"
    );
    assert_eq!(trained.api_base, Some(server.base()));
    assert_eq!(trained.tokens, Some(1234));
    assert_eq!(trained.loss, Some(2.0 / 3.0));
}

#[tokio::test]
async fn job_request_matches_the_training_spec() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    customer.trains_with(json!({"n_epochs": 3, "learning_rate_multiplier": 0.5, "batch_size": "auto"}));
    customer.shard.validation = Some(customer.rows("validation.jsonl", 10));
    customer.configure(|spec| {
        spec.suffix = Some("mine".to_owned());
        spec.extra = object(json!({"metadata": {"team": "x", "job_key": "stolen"}, "seed": 7}));
    });
    customer.start(KEY).await;
    let state = server.state();
    let job = &state.jobs[0];
    let given = json!({"n_epochs": 3, "learning_rate_multiplier": 0.5, "batch_size": "auto"});
    assert_eq!(
        job["method"],
        json!({"type": "supervised", "supervised": {"hyperparameters": given}})
    );
    assert_eq!(
        job["metadata"],
        json!({"job_key": KEY, "bsft_run": "run-1", "lm": "small", "team": "x"})
    );
    assert_eq!(job["seed"], 7);
    let names: Vec<&Json> = state.files.iter().map(|file| &file["filename"]).collect();
    assert_eq!(
        names,
        [
            &json!(format!("{KEY}.jsonl")),
            &json!(format!("{KEY}-validation.jsonl"))
        ]
    );
    assert_eq!(state.files[0]["id"], job["training_file"]);
    assert_eq!(state.files[1]["id"], job["validation_file"]);
    assert_eq!(state.files[0]["sha256"], customer.shard.data.sha256);
    assert_eq!(state.violations, Vec::<String>::new());
}

#[tokio::test]
async fn seed_is_limited_to_31_bits() {
    let (server, _) = trains_once(&[]).await;
    assert_eq!(server.state().jobs[0]["seed"], (1_u64 << 31) - 1);
}

#[tokio::test]
async fn extra_hyperparameters_replace_the_method() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    customer.trains_with(json!({"n_epochs": 3}));
    customer.configure(|spec| spec.extra = object(json!({"hyperparameters": {"batch_size": 4}})));
    trained(customer.train().await);
    assert_one_job(&server);
    let hyperparameters = &server.state().jobs[0]["hyperparameters"];
    assert_eq!(
        (&hyperparameters["n_epochs"], &hyperparameters["batch_size"]),
        (&json!(3), &json!(4))
    );
}

#[tokio::test]
async fn find_returns_the_job_of_a_lost_create_answer() {
    trains_once(&["lose-create"]).await;
    trains_once(&["fail-create"]).await;
}

#[tokio::test]
async fn find_waits_for_a_list_that_lags() {
    trains_once(&["lose-create", "hidden=3"]).await;
}

#[tokio::test]
async fn find_works_where_the_filter_is_ignored() {
    trains_once(&["lose-create", "ignore-filter", "crowd=250"]).await;
}

#[tokio::test]
async fn find_works_where_the_filter_is_refused() {
    for status in ["400", "422"] {
        let refuses = format!("refuse-filter={status}");
        trains_once(&["lose-create", &refuses, "crowd=3"]).await;
        trains_once(&["lose-create", &refuses, "crowd=3", "no-list-of-files"]).await;
    }
}

#[tokio::test]
async fn find_works_where_metadata_is_dropped() {
    trains_once(&["lose-create", "drop-metadata", "crowd=250"]).await;
    trains_once(&["lose-create", "drop-metadata", "ignore-filter"]).await;
}

#[tokio::test]
async fn start_works_where_metadata_is_refused() {
    trains_once(&["refuse-metadata"]).await;
    trains_once(&["refuse-metadata", "refuse-filter=400", "lose-create", "crowd=3"]).await;
}

#[tokio::test]
async fn extra_metadata_is_never_dropped() {
    let server = serve(&["refuse-metadata"]);
    let mut customer = Customer::new(&server.base());
    customer.configure(|spec| spec.extra = object(json!({"metadata": {"team": "x"}})));
    let reason = failed(customer.train().await);
    assert!(reason.contains("Unrecognized request argument"), "{reason}");
    assert_eq!(server.state().jobs.len(), 0);
}

#[tokio::test]
async fn dropped_create_is_repeated() {
    trains_once(&["drop-create"]).await;
    trains_once(&["drop-create", "ignore-filter", "crowd=3"]).await;
}

#[tokio::test]
async fn upload_with_a_lost_answer_is_reused() {
    let (server, _) = trains_once(&["lose-upload"]).await;
    let uploads = server.state().requests;
    let uploads = uploads
        .iter()
        .filter(|request| request.method == "POST" && request.path == "/v1/files");
    assert_eq!(uploads.count(), 1);
}

#[tokio::test]
async fn lost_create_answer_without_lists_is_not_repeated() {
    let server = serve(&["no-lists", "lose-create"]);
    let customer = Customer::new(&server.base());
    let reason = failed(customer.train().await);
    assert!(reason.contains("lists no trainings"), "{reason}");
    assert_eq!(server.state().jobs.len(), 1);
}

#[tokio::test]
async fn training_works_without_lists() {
    trains_once(&["no-lists"]).await;
}

#[tokio::test]
async fn training_survives_one_failing_request() {
    // The whole is: list of jobs, files, jobs again; upload, create; looks and events; files, job, delete.
    let (server, _) = trains_once(&[]).await;
    let requests = server.state().requests.len();
    let faults = (1..=requests).flat_map(|number| [(number, 429), (number, 500)]);
    let trainings = faults.map(async |(number, status)| {
        let (server, _) = trains_once(&[&format!("answer={number}:{status}")]).await;
        assert_eq!(server.state().requests[number - 1].status, status);
    });
    // A few at a time: each has a server of its own, and waits a little before it asks again.
    stream::iter(trainings)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

#[tokio::test]
async fn unknown_statuses_are_not_terminal() {
    trains_once(&["walk=warming_up,queued,pausing,paused,running,cooling_down,succeeded"]).await;
}

#[tokio::test]
async fn poll_reports_a_paused_job() {
    let server = serve(&["walk=paused,succeeded"]);
    let customer = Customer::new(&server.base());
    let id = customer.start(KEY).await;
    let training = customer
        .with(KEY, async |provider, order| {
            provider.poll(&id, order).await.unwrap()
        })
        .await;
    let TrainingState::Running(progress) = training else {
        panic!("{training:?}")
    };
    assert_eq!(progress.status.as_deref(), Some("paused"));
    assert!(
        progress
            .message
            .is_some_and(|message| message.contains("resume it there"))
    );
}

#[tokio::test]
async fn poll_reads_steps_from_events() {
    let server = serve(&["walk=running,running,succeeded"]);
    let customer = Customer::new(&server.base());
    let id = customer.start(KEY).await;
    for step in [1, 2] {
        let training = customer
            .with(KEY, async |provider, order| {
                provider.poll(&id, order).await.unwrap()
            })
            .await;
        let TrainingState::Running(progress) = training else {
            panic!("{training:?}")
        };
        assert_eq!((progress.step, progress.total_steps), (Some(step), Some(10)));
        assert_eq!(progress.percent, Some(step as f64 * 10.0));
        assert_eq!(progress.status.as_deref(), Some("running"));
        assert!(
            progress
                .message
                .is_some_and(|message| message.starts_with("Step "))
        );
    }
}

#[tokio::test]
async fn training_works_without_events_and_models() {
    let (server, trained) = trains_once(&["no-events", "no-models", "own-names"]).await;
    assert_eq!(trained.loss, None);
    let model = trained.model.unwrap();
    assert!(model.starts_with("openai/org/base-model-org-test-"), "{model}");
    let warnings = Customer::new(&server.base()).preflight().await.unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("could not look up the model ") && warnings[0].contains("org/base-model"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn failure_has_the_message_of_the_server() {
    for (error, words) in [
        ("error=object", "the machine broke (server_error)"),
        ("error=string", "the machine broke"),
        ("error=null", "without a reason"),
    ] {
        let server = serve(&["walk=running,failed", error]);
        let reason = failed(Customer::new(&server.base()).train().await);
        assert!(reason.ends_with(words), "{reason}");
        assert_one_job(&server);
    }
}

#[tokio::test]
async fn too_few_rows_fail_with_the_message_of_the_server() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    customer.shard.data = customer.rows("few.jsonl", 9);
    let reason = failed(customer.train().await);
    assert_eq!(
        reason,
        "9 examples; the least is 10 (invalid_training_file, at training_file)"
    );
    assert_one_job(&server);
}

#[tokio::test]
async fn bad_file_creates_no_job() {
    let server = serve(&["bad-file"]);
    let reason = failed(Customer::new(&server.base()).train().await);
    assert!(reason.contains("line 3 is no example"), "{reason}");
    assert_eq!(server.state().jobs.len(), 0);
}

#[tokio::test]
async fn start_waits_for_a_pending_file() {
    trains_once(&["pending=3"]).await;
}

#[tokio::test]
async fn succeeded_job_without_model_is_a_failure() {
    let server = serve(&["nameless"]);
    let reason = failed(Customer::new(&server.base()).train().await);
    assert!(reason.contains("without a model name"), "{reason}");
    assert_one_job(&server);
}

#[tokio::test]
async fn find_ignores_trainings_that_failed_or_were_cancelled() {
    for walk in ["walk=failed", "walk=cancelled"] {
        let server = serve(&[walk]);
        let customer = Customer::new(&server.base());
        let id = customer.start(KEY).await;
        let found = customer
            .with(KEY, async |provider, order| {
                assert_eq!(found(provider, order).await, Some(id.clone()));
                ended(provider, order, &id).await;
                found(provider, order).await
            })
            .await;
        assert_eq!(found, None);
    }
}

#[tokio::test]
async fn idempotency_keys_start_separate_trainings() {
    let server = serve(&["ignore-filter", "drop-metadata"]);
    let customer = Customer::new(&server.base());
    let first = customer.start(KEY).await;
    let second = customer.start("ffeeddccbbaa99887766554433221100").await;
    assert_ne!(first, second);
    assert_eq!(customer.start(KEY).await, first);
    assert_eq!(server.state().jobs.len(), 2);
}

#[tokio::test]
async fn cancel_is_idempotent() {
    let server = serve(&[]);
    let customer = Customer::new(&server.base());
    let id = customer.start(KEY).await;
    customer
        .with(KEY, async |provider, order| {
            provider.cancel(&id, order).await.unwrap();
            assert_eq!(provider.poll(&id, order).await.unwrap(), TrainingState::Cancelled);
            provider.cancel(&id, order).await.unwrap();
            provider.cleanup(&id, order).await.unwrap();
            provider.cleanup(&id, order).await.unwrap();
        })
        .await;
    assert_one_job(&server);
}

#[tokio::test]
async fn cancel_refused_by_the_server_is_an_error_unless_training_has_ended() {
    let server = serve(&["cancel=409", "walk=running,running,succeeded"]);
    let customer = Customer::new(&server.base());
    let id = customer.start(KEY).await;
    customer
        .with(KEY, async |provider, order| {
            let refused = provider.cancel(&id, order).await.unwrap_err();
            assert!(matches!(refused, ProviderError::Refused(_)), "{refused:?}");
            trained(ended(provider, order, &id).await);
            provider.cancel(&id, order).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn poll_of_a_forgotten_training_is_absent() {
    let server = serve(&[]);
    let customer = Customer::new(&server.base());
    let gone = TrainingId("ftjob-9999".to_owned());
    customer
        .with(KEY, async |provider, order| {
            assert_eq!(provider.poll(&gone, order).await.unwrap(), TrainingState::Absent);
            provider.cancel(&gone, order).await.unwrap();
            provider.cleanup(&gone, order).await.unwrap();
        })
        .await;
}

#[tokio::test]
async fn revoked_api_key_is_transient_while_training() {
    let server = OpenaiServer::start(&["key=another"]);
    let customer = Customer::new(&server.base());
    customer
        .with(KEY, async |provider, order| {
            let error = provider.poll(&TrainingId("ftjob-1".to_owned()), order).await;
            assert!(matches!(error, Err(ProviderError::Passing(_))), "{error:?}");
        })
        .await;
}

#[tokio::test]
async fn model_name_with_a_slash_is_one_path_segment() {
    let (server, _) = trains_once(&[]).await;
    Customer::new(&server.base()).preflight().await.unwrap();
    let requests = server.state().requests;
    assert!(
        requests
            .iter()
            .any(|request| request.path == "/v1/models/org%2Fbase-model" && request.status == 200),
        "{requests:?}"
    );
}

#[tokio::test]
async fn auth_header_carries_the_bare_key() {
    let server = serve(&["auth-header=api-key"]);
    let mut customer = Customer::new(&server.base());
    customer.configure(|spec| spec.auth_header = Some("api-key".to_owned()));
    trained(customer.train().await);
    assert_one_job(&server);
}

#[tokio::test]
async fn preflight_without_problems_is_silent() {
    let server = serve(&[]);
    assert_eq!(Customer::new(&server.base()).preflight().await, Ok(vec![]));
    let state = server.state();
    assert!(state.requests.iter().all(|request| request.method == "GET"));
    assert_eq!(state.violations, Vec::<String>::new());
}

#[tokio::test]
async fn preflight_reports_all_problems() {
    let server = serve(&["shutdown=2020-01-31"]);
    let mut customer = Customer::new(&server.base());
    customer.trains_with(json!({"n_epoch": 3, "batch_size": 257}));
    customer.configure(|spec| spec.extra = object(json!({"training_file": "file-x"})));
    let problems = customer.preflight().await.unwrap_err();
    for part in [
        "n_epoch",
        "batch_size = 257",
        "training_file",
        "shut down on 2020-01-31",
    ] {
        assert!(problems.contains(part), "{part:?} in {problems}");
    }
}

#[tokio::test]
async fn preflight_with_a_refused_key_does_not_print_it() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    // It is set, to something that is no key of the server's.
    customer.configure(|spec| spec.api_key_env = Some("CARGO_MANIFEST_DIR".to_owned()));
    let problems = customer.preflight().await.unwrap_err();
    assert!(
        problems.contains("HTTP 401") && problems.contains("api_key_env"),
        "{problems}"
    );
    assert!(!problems.contains(env!("CARGO_MANIFEST_DIR")), "{problems}");
}

#[tokio::test]
async fn preflight_warns_of_an_unlisted_model() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    customer.shard.recipe.model = "openai/another".to_owned();
    let warnings = customer.preflight().await.unwrap();
    assert!(warnings[0].contains("lists no model another"), "{warnings:?}");
    // The server decides, and its refusal is reported, too.
    let reason = failed(customer.train().await);
    assert!(reason.contains("no such model"), "{reason}");
    assert_eq!(server.state().jobs.len(), 0);
}

#[tokio::test]
async fn preflight_suggests_the_right_model_name() {
    let server = serve(&[]);
    let mut customer = Customer::new(&server.base());
    customer.shard.recipe.model = "openai/org/base-modell".to_owned();
    let problems = customer.preflight().await.unwrap_err();
    assert!(problems.contains("did you mean `org/base-model`?"), "{problems}");
}

#[tokio::test]
async fn preflight_of_an_absent_server_is_transient() {
    let port = ReservedPort::new();
    let customer = Customer::new(&format!("http://127.0.0.1:{}/v1", port.number()));
    let recipe = &customer.shard.recipe;
    let error = customer.provider().preflight(recipe).await.unwrap_err();
    assert!(matches!(error, ProviderError::Passing(_)), "{error:?}");
}

#[tokio::test]
async fn training_works_on_the_lenient_server() {
    let server = LmServer::start("clean");
    let customer = Customer::new(&server.base());
    let warnings = customer.preflight().await.unwrap();
    assert!(warnings[0].contains("lists no trainings"), "{warnings:?}");
    let model = trained(customer.train().await).model.unwrap();
    assert!(model.starts_with("ft:org/base-model:oracle::"), "{model}");
}
