//! The providers `together` and `fireworks` against a strict server of ours: whatever goes wrong, there is one training in the end.

mod faults;
mod fixture;
mod preflight;

use bsft::finetune::{
    ProviderError, StartError, TrainingId, TrainingProgress, TrainingResult, TrainingState,
};
use fixture::{BOTH, KEY, OTHER_KEY, Scene, Service, assert_clean, file};
use serde_json::json;
use std::fmt::Write as _;

#[tokio::test]
async fn rows_become_a_model() {
    for service in BOTH {
        let scene = Scene::new(service);
        let warnings = scene.provider().preflight(&scene.shard.recipe).await.unwrap();
        assert!(
            warnings.iter().any(|warning| warning.contains("dedicated")),
            "{warnings:?}"
        );
        let id = scene.started(KEY).await;
        assert_eq!(scene.started(KEY).await, id);
        let (_, ended) = scene.ended(&id).await;
        let place = scene.server.base();
        let expected = match service {
            Service::Together => TrainingResult {
                model: Some(
                    "openai/acme/Qwen/Qwen3-0.6B-hop-questions-student-0123456789abcdef-1f2e".to_owned(),
                ),
                api_base: Some(place),
                tokens: Some(4321),
                loss: Some(0.5),
            },
            Service::Fireworks => TrainingResult {
                model: Some(format!("openai/accounts/acme/models/hop-questions-student-{KEY}")),
                api_base: Some(place.replace("/v1", "/inference/v1")),
                ..TrainingResult::default()
            },
        };
        assert_eq!(ended, TrainingState::Succeeded(expected));
        assert_clean(&scene.tidied(KEY, &id).await, "in the end");
    }
}

#[tokio::test]
async fn unknown_status_is_not_terminal() {
    for (service, states) in [
        (Service::Together, ["pending", "galloping", "completed"]),
        (
            Service::Fireworks,
            ["JOB_STATE_PENDING", "JOB_STATE_GALLOPING", "JOB_STATE_COMPLETED"],
        ),
    ] {
        let scene = Scene::new(service);
        scene.server.set(&json!({"states": states}));
        let id = scene.started(KEY).await;
        let (shown, ended) = scene.ended(&id).await;
        let words: Vec<_> = shown.into_iter().filter_map(|progress| progress.status).collect();
        assert!(words.iter().any(|word| word == states[1]), "{words:?}");
        assert!(matches!(ended, TrainingState::Succeeded(_)), "{ended:?}");
    }
}

#[tokio::test]
async fn poll_reports_progress_of_the_service() {
    let scene = Scene::new(Service::Together);
    let id = scene.started(KEY).await;
    let (shown, _) = scene.ended(&id).await;
    let running = shown
        .iter()
        .find(|progress| progress.status.as_deref() == Some("running"));
    let expected = TrainingProgress {
        status: Some("running".to_owned()),
        step: Some(3),
        total_steps: Some(8),
        epoch: Some(1.0),
        loss: None,
        percent: Some(37.5),
        message: Some("epoch 1 done".to_owned()),
    };
    assert_eq!(running, Some(&expected));

    let scene = Scene::new(Service::Fireworks);
    let id = scene.started(KEY).await;
    let (shown, _) = scene.ended(&id).await;
    let running = shown
        .iter()
        .find(|progress| progress.status.as_deref() == Some("JOB_STATE_RUNNING"));
    let expected = TrainingProgress {
        status: Some("JOB_STATE_RUNNING".to_owned()),
        epoch: Some(1.0),
        percent: Some(40.0),
        message: Some("estimated cost: 1.25 USD".to_owned()),
        ..TrainingProgress::default()
    };
    assert_eq!(running, Some(&expected));
}

#[tokio::test]
async fn poll_reports_the_reason_of_a_failure() {
    let scene = Scene::new(Service::Together);
    scene.server.set(&json!({"states": ["running", "user_error"]}));
    let id = scene.started(KEY).await;
    let (_, ended) = scene.ended(&id).await;
    assert_eq!(ended, TrainingState::Failed("epoch 1 done".to_owned()));
    let artifacts = scene.artifacts();
    let again = scene
        .provider()
        .find(&scene.order(KEY, &artifacts))
        .await
        .unwrap();
    assert_eq!(again, None, "a failed job is not the order's training");

    let scene = Scene::new(Service::Fireworks);
    let job = json!({"status": {"code": "INTERNAL", "message": "out of\nmemory"}});
    scene
        .server
        .set(&json!({"states": ["JOB_STATE_RUNNING", "JOB_STATE_FAILED"], "job": job}));
    let id = scene.started(KEY).await;
    let (_, ended) = scene.ended(&id).await;
    assert_eq!(ended, TrainingState::Failed("out of memory".to_owned()));
}

#[tokio::test]
async fn cancel_twice_is_harmless() {
    for service in BOTH {
        let scene = Scene::new(service);
        let (provider, artifacts) = (scene.provider(), scene.artifacts());
        let order = scene.order(KEY, &artifacts);
        let id = scene.started(KEY).await;
        provider.cancel(&id, &order).await.unwrap();
        let (_, ended) = scene.ended(&id).await;
        assert_eq!(ended, TrainingState::Cancelled);
        provider.cancel(&id, &order).await.unwrap();
        provider
            .cancel(&TrainingId("no-such-job".to_owned()), &order)
            .await
            .unwrap();
        provider.cleanup(&id, &order).await.unwrap();
        // Tidied before a crash, and asked to again.
        provider.cleanup(&id, &order).await.unwrap();
        assert_eq!(scene.server.state().jobs.len(), 1);
        assert!(scene.server.state().files.is_empty());
    }
}

#[tokio::test]
async fn poll_of_an_unknown_training_is_absent() {
    for service in BOTH {
        let scene = Scene::new(service);
        let (provider, artifacts) = (scene.provider(), scene.artifacts());
        let order = scene.order(KEY, &artifacts);
        let id = provider.deterministic_id(&order);
        assert_eq!(id.is_some(), service == Service::Fireworks);
        let id = id.unwrap_or_else(|| TrainingId("ft-9".to_owned()));
        assert_eq!(provider.poll(&id, &order).await.unwrap(), TrainingState::Absent);
        assert_eq!(provider.find(&order).await.unwrap(), None);
    }
}

#[tokio::test]
async fn shared_rows_are_deleted_after_the_last_training() {
    let scene = Scene::new(Service::Together);
    let first = scene.started(KEY).await;
    let second = scene.started(OTHER_KEY).await;
    assert_ne!(first, second);
    assert_eq!(
        scene.server.state().files.len(),
        2,
        "the service knows rows by their checksum"
    );
    scene.ended(&first).await;
    assert_eq!(scene.tidied(KEY, &first).await.files.len(), 2);
    scene.ended(&second).await;
    let state = scene.tidied(KEY, &first).await;
    assert!(state.files.is_empty(), "{:?}", state.files);
}

#[tokio::test]
async fn start_waits_for_a_slow_dataset() {
    let scene = Scene::new(Service::Fireworks);
    scene.server.set(&json!({"slow": 3}));
    let id = scene.started(KEY).await;
    assert_clean(&scene.tidied(KEY, &id).await, "in the end");
}

#[tokio::test]
async fn start_reports_rows_that_the_service_refuses() {
    for service in BOTH {
        let mut scene = Scene::new(service);
        scene.shard.data = file(scene.folder.path(), "bad.jsonl", "{\"messages\": []}\n");
        let artifacts = scene.artifacts();
        let error = scene
            .provider()
            .start(&scene.order(KEY, &artifacts))
            .await
            .unwrap_err();
        let StartError::NotStarted(ProviderError::Refused(why)) = error else {
            panic!("{error:?}")
        };
        assert!(
            why.ends_with("does not take the training rows: line 1 holds no messages"),
            "{why}"
        );
        assert!(scene.server.state().jobs.is_empty());
    }
}

#[tokio::test]
async fn large_rows_are_uploaded_to_a_signed_url() {
    let mut scene = Scene::new(Service::Fireworks);
    // The service's limit is 150 MB.
    let answer = "a".repeat(1 << 20);
    let mut text = String::new();
    for _ in 0..144 {
        let messages =
            json!([{"role": "user", "content": "question"}, {"role": "assistant", "content": answer}]);
        writeln!(text, "{}", json!({"messages": messages})).unwrap();
    }
    scene.shard.data = file(scene.folder.path(), "large.jsonl", &text);
    let id = scene.started(KEY).await;
    let state = scene.tidied(KEY, &id).await;
    assert!(
        state
            .requests
            .iter()
            .any(|request| request.starts_with("PUT /bucket/train-")),
        "{:?}",
        state.requests
    );
    assert_clean(&state, "in the end");
}
