//! Requests that go wrong: whichever it is, there is one training in the end.

use super::fixture::{BOTH, KEY, Scene, Service, assert_clean};
use crate::support::finetune_services::ServicesState;
use bsft::finetune::{StartError, TrainingState};
use serde_json::json;

#[tokio::test]
async fn find_returns_the_job_of_a_lost_create_answer() {
    for service in BOTH {
        for fault in ["lose", "blur"] {
            let scene = Scene::new(service);
            scene.server.fault(service.create(), &json!(fault));
            let (provider, artifacts) = (scene.provider(), scene.artifacts());
            let order = scene.order(KEY, &artifacts);
            let error = provider.start(&order).await.unwrap_err();
            assert!(
                matches!(error, StartError::Unclear(_)),
                "{service:?} {fault}: {error}"
            );
            let id = provider.find(&order).await.unwrap().unwrap();
            assert_eq!(scene.server.state().jobs[0]["id"], id.0.as_str());
            assert_clean(&scene.tidied(KEY, &id).await, fault);
        }
    }
}

#[tokio::test]
async fn dropped_create_is_repeated_without_a_second_upload() {
    for service in BOTH {
        let scene = Scene::new(service);
        scene.server.fault(service.create(), &json!("drop"));
        let id = scene.started(KEY).await;
        let state = scene.server.state();
        let creates = state
            .requests
            .iter()
            .filter(|request| *request == service.create());
        assert_eq!(creates.count(), 2, "{:?}", state.requests);
        let uploads = |request: &&String| {
            request.starts_with("PUT ")
                || request.ends_with(":upload")
                || request.as_str() == "POST /v1/files"
        };
        let expected = if service == Service::Together { 4 } else { 2 };
        assert_eq!(
            state.requests.iter().filter(uploads).count(),
            expected,
            "{:?}",
            state.requests
        );
        assert_clean(&scene.tidied(KEY, &id).await, "in the end");
    }
}

#[tokio::test]
async fn any_faulty_request_of_a_start_leaves_one_training() {
    for service in BOTH {
        let scene = Scene::new(service);
        scene.started(KEY).await;
        let requests = scene.server.state().requests;
        let changes = requests.iter().filter(|request| !request.starts_with("GET "));
        for request in changes {
            for fault in [json!("lose"), json!("drop"), json!(500), json!(429)] {
                scene.server.reset();
                scene.server.fault(request, &fault);
                let when = format!("{service:?}, {fault} at {request}");
                let id = scene.started(KEY).await;
                let (_, ended) = scene.ended(&id).await;
                assert!(matches!(ended, TrainingState::Succeeded(_)), "{when}: {ended:?}");
                let state = scene.tidied(KEY, &id).await;
                // A form that arrived and went unheard of is refused the second time, and looked for then.
                let refused = state
                    .refused
                    .iter()
                    .all(|why| why.ends_with("something was uploaded already"));
                assert!(refused, "{when}: {:?}", state.refused);
                assert_clean(
                    &ServicesState {
                        refused: Vec::new(),
                        ..state
                    },
                    &when,
                );
            }
        }
    }
}

#[tokio::test]
async fn start_twice_returns_the_same_job() {
    let scene = Scene::new(Service::Fireworks);
    let (provider, artifacts) = (scene.provider(), scene.artifacts());
    let order = scene.order(KEY, &artifacts);
    let id = provider.start(&order).await.unwrap();
    assert_eq!(provider.start(&order).await.unwrap(), id);
    assert_eq!(provider.deterministic_id(&order), Some(id));
    assert_eq!(scene.server.state().jobs.len(), 1);
}
