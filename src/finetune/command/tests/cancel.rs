//! Trainings that are stopped.

use super::*;

#[tokio::test]
async fn trainer_that_succeeds_after_term_is_cancelled() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = place.start(&*provider).await;
    place.command(&format!("trap '{SUCCEED}' TERM; echo > \"$1/trapped\""));
    until(|| place.control("trapped").exists()).await;
    provider.cancel(&id, &place.order()).await.unwrap();
    assert!(place.work().join("unfinished/model.safetensors").exists());
    assert_eq!(
        provider.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Cancelled
    );
}

#[tokio::test]
async fn cancel_kills_a_grandchild_that_ignores_term() {
    let place = TrainerFixture::new("").impatient();
    let provider = place.provider();
    let id = place.start(&*provider).await;
    place.command("sh -c 'trap \"\" TERM; echo > \"$1/deaf\"; while :; do sleep 0.02; done' sh \"$1\" &");
    until(|| place.control("deaf").exists()).await;
    let group = place.pid();
    provider.cancel(&id, &place.order()).await.unwrap();
    assert_eq!(procfs::members(group), Vec::<i32>::new());
    assert_eq!(
        provider.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Cancelled
    );
    // Asked for again under the same key, it stays cancelled.
    provider.start(&place.order()).await.unwrap();
    assert_eq!(place.outcome(&*provider).await, TrainingState::Cancelled);
    assert_eq!(place.starts(), 1);
}

#[tokio::test]
async fn cancel_before_start_prevents_the_start() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = provider.deterministic_id(&place.order()).unwrap();
    assert_eq!(
        provider.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Absent
    );
    provider.cancel(&id, &place.order()).await.unwrap();
    provider.start(&place.order()).await.unwrap();
    assert_eq!(place.outcome(&*provider).await, TrainingState::Cancelled);
    assert_eq!(place.starts(), 0);
}

#[tokio::test]
async fn cancel_after_the_end_changes_nothing() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = place.start(&*provider).await;
    place.command(SUCCEED);
    let ended = place.outcome(&*provider).await;
    provider.cancel(&id, &place.order()).await.unwrap();
    assert_eq!(provider.poll(&id, &place.order()).await.unwrap(), ended);
}

#[tokio::test]
async fn timeout_secs_and_silence_secs_end_the_trainer() {
    for (entry, part) in [
        ("timeout_secs = 0.2", "timeout_secs"),
        ("silence_secs = 0.2", "silence_secs"),
    ] {
        let place = TrainerFixture::new(entry);
        let provider = place.provider();
        // It may be stopped before its first output.
        provider.start(&place.order()).await.unwrap();
        let why = failure(place.outcome(&*provider).await);
        assert!(why.contains(part), "{why}");
        assert_eq!(procfs::members(place.pid()), Vec::<i32>::new());
    }
}

#[tokio::test]
async fn stop_all_stops_the_trainings_of_a_run_without_their_worker() {
    let place = TrainerFixture::new("");
    let id = place.start(&*place.provider()).await;
    let of_another = RunId("another".to_owned());
    assert!(stop_all(&place.dir(), &of_another).await.unwrap().is_empty());
    assert_eq!(stop_all(&place.dir(), &place.run).await.unwrap().len(), 1);
    assert_eq!(procfs::members(place.pid()), Vec::<i32>::new());
    assert!(stop_all(&place.dir(), &place.run).await.unwrap().is_empty());
    let next = place.provider();
    assert_eq!(place.outcome(&*next).await, TrainingState::Cancelled);
    assert_eq!(next.find(&place.order()).await.unwrap(), Some(id));
}
