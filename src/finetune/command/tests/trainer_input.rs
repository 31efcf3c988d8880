//! The input of a trainer, and the settings that are refused before it starts.

use super::*;

#[tokio::test]
async fn values_of_a_job_are_never_executed() {
    let nasty = "a'b\"c$(touch INJECTED)`touch INJECTED`;{x}\\ # : [";
    let place = TrainerFixture::new("files.'c.yaml' = '''\nlr: {lr}\nwho: {who}\nresume: {resume_dir}\n'''")
        .train("lr", nasty);
    let provider = place.provider();
    place.start(&*provider).await;
    assert_eq!(place.written("arguments").lines().nth(3), Some(nasty));
    let yaml = fs::read_to_string(place.work().join("c.yaml")).unwrap();
    assert_eq!(yaml, format!("lr: {}\n", Json::from(nasty)));
    let values: Json =
        serde_json::from_slice(&fs::read(place.work().join("hyperparams.json")).unwrap()).unwrap();
    assert_eq!(values["lr"], nasty);
    assert!(!place.work().join("INJECTED").exists() && !place.control("INJECTED").exists());
}

#[tokio::test]
async fn invalid_train_values_and_models_are_refused_before_the_start() {
    for (key, value, part) in [
        ("lr", json!("--output_dir=/"), "begins with a dash"),
        ("lr", json!("a\nb: c"), "control character"),
        ("lr", json!(["a"]), "neither a number nor"),
        ("Lr", json!(1), "did you mean `lr`?"),
        ("output_dir", json!("/"), "does not accept `output_dir`"),
    ] {
        let place = TrainerFixture::new("").train(key, value);
        let provider = place.provider();
        let refused = provider
            .preflight(&place.shard.recipe)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(part), "{refused}");
        let refused = provider.start(&place.order()).await.unwrap_err().to_string();
        assert!(refused.contains(part), "{refused}");
        assert!(!place.work().exists());
    }
    let mut place = TrainerFixture::new("base_models = ['base/*']");
    assert!(place.provider().preflight(&place.shard.recipe).await.is_ok());
    for (model, part) in [("openai/other", "base/*"), ("openai/-rf", "begins with a dash")] {
        model.clone_into(&mut place.shard.recipe.model);
        let refused = place
            .provider()
            .preflight(&place.shard.recipe)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(part), "{refused}");
    }
}

#[tokio::test]
async fn missing_trainer_is_found_before_training() {
    let place = TrainerFixture::new("check = ['sh', '-c', 'echo no trl >&2; exit 3']");
    let refused = place
        .provider()
        .preflight(&place.shard.recipe)
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("no trl"), "{refused}");
    let trainers = Trainers::read(&place.folder.path().join("trainers.toml")).unwrap();
    let providers = Providers::new(Some(Arc::new(trainers)), Arc::new(KeyRing::well_known()));
    let mut recipe = place.shard.recipe.clone();
    recipe.provider = ProviderSpec::Command(CommandSpec {
        trainer: "u".to_owned(),
    });
    let why = providers.get(&recipe).err().unwrap().to_string();
    assert!(why.contains("no trainer `u`") && why.contains("has t"), "{why}");
    assert_eq!(providers.trainers(), ["t"]);
}

#[tokio::test]
async fn trainer_inherits_no_variable_of_the_worker() {
    let place = TrainerFixture::new("env = { GIVEN = 'as {base_model}' }");
    let provider = place.provider();
    place.start(&*provider).await;
    let environment = place.written("environment");
    // Cargo sets variables for its tests that must not be passed on: they stand for secrets.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO_")));
    let names: Vec<&str> = environment
        .lines()
        .filter_map(|line| line.split_once('=').map(|pair| pair.0))
        .collect();
    for name in &names {
        let is_ours =
            name.starts_with("FT_") || *name == "GIVEN" || environment::ALWAYS_PASSED.contains(name);
        assert!(
            is_ours || ["PWD", "SHLVL", "OLDPWD", "_"].contains(name),
            "{name}"
        );
    }
    assert!(environment.contains("GIVEN=as base/model\n") && environment.contains("FT_SEED=7\n"));
    let listed = TrainerFixture::new("pass_env = ['CARGO_PKG_NAME']");
    listed.start(&*listed.provider()).await;
    assert!(listed.written("environment").contains("CARGO_PKG_NAME="));
}

#[tokio::test]
async fn rows_that_are_too_long_are_reported_before_training() {
    let measure = "measure = ['sh', '-c', 'echo reading; echo \"{\\\"rows\\\": 2, \\\"longest\\\": 9, \\\"lengths\\\": [3, 9], \\\"limit\\\": LIMIT}\"']";
    let place = TrainerFixture::new(&measure.replace("LIMIT", "5"));
    let provider = place.provider();
    let id = place.start(&*provider).await;
    assert!(place.written("environment").contains("FT_MAX_LENGTH=5\n"));
    let TrainingState::Running(progress) = provider.poll(&id, &place.order()).await.unwrap() else {
        panic!("it does not run")
    };
    assert!(
        progress
            .message
            .is_some_and(|message| message.starts_with("1 of 2 rows are longer"))
    );
    let all = TrainerFixture::new(&measure.replace("LIMIT", "2"));
    let refused = all.provider().start(&all.order()).await.unwrap_err().to_string();
    assert!(refused.contains("all 2 rows"), "{refused}");
    assert_eq!(all.starts(), 0);
}
