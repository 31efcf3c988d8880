//! The request that starts a training, and the problems that the preflight finds in it.

use super::fixture::{BOTH, KEY, Scene, Service, object, service as spec_of};
use bsft::finetune::{ProviderSpec, TrainingSpec};
use serde_json::json;

#[tokio::test]
async fn train_and_extra_are_in_the_request() {
    for service in BOTH {
        let mut scene = Scene::new(service);
        let (train, extra, expected) = match service {
            Service::Together => (
                json!({"n_epochs": 3, "batch_size": 8, "lr_scheduler_type": "linear", "train_on_inputs": false}),
                json!({"n_checkpoints": 2}),
                json!({"n_epochs": 3, "batch_size": 8, "n_checkpoints": 2, "n_evals": 1, "suffix": "mine-0123456789abcdef",
                    "training_method": {"method": "sft", "train_on_inputs": false},
                    "lr_scheduler": {"lr_scheduler_type": "linear", "lr_scheduler_args": {"min_lr_ratio": 0.0}}}),
            ),
            Service::Fireworks => (
                json!({"epochs": 3, "batch_size": 8, "early_stop": true}),
                json!({"outputModel": "accounts/acme/models/named"}),
                json!({"epochs": 3, "batchSize": 8, "earlyStop": true, "outputModel": "accounts/acme/models/named",
                    "displayName": format!("mine-{KEY}"), "baseModel": "accounts/fireworks/models/qwen3-0p6b"}),
            ),
        };
        scene.shard.recipe.train = object(train);
        let spec = spec_of(&mut scene.shard.recipe);
        spec.extra = object(extra);
        spec.suffix = Some("Mine".to_owned());
        scene.started(KEY).await;
        let state = scene.server.state();
        let asked = &state.jobs[0]["body"];
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&asked[key], value, "{service:?} {key}");
        }
        assert_eq!(state.refused, Vec::<String>::new());
    }
}

#[tokio::test]
async fn preflight_suggests_what_to_change() {
    for service in BOTH {
        let scene = Scene::new(service);
        let why = scene
            .refusal(|recipe| recipe.train = object(json!({"learn_rate": 1})))
            .await;
        let name = scene.shard.recipe.provider.name();
        let expected =
            format!("provider {name} does not accept train.learn_rate: did you mean `learning_rate`?");
        assert_eq!(why, expected);
        let why = scene
            .refusal(|recipe| recipe.model = "openai/accounts/fireworks/models/none".to_owned())
            .await;
        assert!(why.contains("accounts/fireworks/models/none"), "{why}");
        let wrong_key =
            |recipe: &mut TrainingSpec| spec_of(recipe).api_key_env = Some("CARGO_MANIFEST_DIR".to_owned());
        let why = scene.refusal(wrong_key).await;
        assert!(
            why.contains("HTTP 401") && why.contains("is the key right?"),
            "{why}"
        );
    }
}

#[tokio::test]
async fn preflight_checks_the_limits_of_a_together_model() {
    let scene = Scene::new(Service::Together);
    let suffix = |recipe: &mut TrainingSpec| spec_of(recipe).extra = object(json!({"suffix": "mine"}));
    let why = scene.refusal(suffix).await;
    assert!(why.starts_with("extra.suffix would hide the job"), "{why}");
    for (train, words) in [
        (
            json!({"lora": false}),
            "is trained with adapters only: leave out train.lora = false",
        ),
        (
            json!({"n_epochs": 21}),
            "train.n_epochs = 21 cannot be for `Qwen/Qwen3-0.6B`: write at most 20",
        ),
        (
            json!({"batch_size": 2}),
            "train.batch_size = 2 cannot be for `Qwen/Qwen3-0.6B`: write at least 4",
        ),
    ] {
        let why = scene.refusal(|recipe| recipe.train = object(train)).await;
        assert!(why.ends_with(words), "{why}");
    }
}

#[tokio::test]
async fn preflight_checks_model_and_account_of_fireworks() {
    let scene = Scene::new(Service::Fireworks);
    let why = scene
        .refusal(|recipe| recipe.model = "openai/frozen-1b".to_owned())
        .await;
    assert_eq!(
        why,
        "Fireworks does not fine-tune `accounts/fireworks/models/frozen-1b`: choose another model"
    );
    let adapter = "accounts/acme/models/earlier";
    let why = scene
        .refusal(|recipe| recipe.model = format!("openai/{adapter}"))
        .await;
    assert!(
        why.ends_with(&format!("write extra = {{ warmStartFrom = \"{adapter}\" }}")),
        "{why}"
    );
    let why = scene
        .refusal(|recipe| {
            let ProviderSpec::Fireworks(spec) = &mut recipe.provider else {
                unreachable!()
            };
            spec.account = "other".to_owned();
        })
        .await;
    assert!(why.ends_with("is \"other\" the account of the key?"), "{why}");
}

#[tokio::test]
async fn extra_warm_start_from_continues_an_adapter() {
    let mut scene = Scene::new(Service::Fireworks);
    let adapter = "accounts/acme/models/earlier";
    scene.shard.recipe.model = format!("openai/{adapter}");
    spec_of(&mut scene.shard.recipe).extra = object(json!({"warmStartFrom": adapter}));
    scene.provider().preflight(&scene.shard.recipe).await.unwrap();
    scene.started(KEY).await;
    assert_eq!(scene.server.state().jobs[0]["body"]["warmStartFrom"], adapter);
}
