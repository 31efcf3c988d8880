//! Which worker resumes a training, and when its trainer is started again.

use super::*;

#[tokio::test]
async fn another_worker_resumes_a_live_trainer() {
    let place = TrainerFixture::new("");
    let id = place.start(&*place.provider()).await;
    let found = unfinished(&place.dir());
    assert_eq!(
        (found[0].run.clone(), found[0].key.as_str()),
        (place.run.clone(), KEY)
    );
    assert_eq!(found[0].shard, place.shard);
    let next = place.provider();
    assert_eq!(next.deterministic_id(&place.order()), Some(id.clone()));
    assert!(matches!(
        next.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Running(_)
    ));
    next.start(&place.order()).await.unwrap();
    place.command(SUCCEED);
    success(place.outcome(&*next).await);
    assert_eq!(place.starts(), 1);
}

#[tokio::test]
async fn live_trainer_is_found_without_proc_json() {
    let place = TrainerFixture::new("");
    let id = place.start(&*place.provider()).await;
    fs::remove_file(place.work().join("proc.json")).unwrap();
    let next = place.provider();
    next.start(&place.order()).await.unwrap();
    assert!(matches!(
        next.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Running(_)
    ));
    next.cancel(&id, &place.order()).await.unwrap();
    assert_eq!(
        next.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Cancelled
    );
    assert_eq!((place.starts(), procfs::members(place.pid()).len()), (1, 0));
}

#[tokio::test]
async fn concurrent_starts_start_one_trainer() {
    let place = TrainerFixture::new("");
    let (one, other) = (place.provider(), place.provider());
    let (order, again) = (place.order(), place.order());
    let (a, b) = tokio::join!(one.start(&order), other.start(&again));
    assert_eq!(a.unwrap(), b.unwrap());
    place.started(1).await;
    place.command(SUCCEED);
    success(place.outcome(&*one).await);
    assert_eq!(place.starts(), 1);
    assert_eq!(fs::read_to_string(place.work().join("attempts")).unwrap(), "1");
}

#[tokio::test]
async fn vanished_trainer_resumes_from_its_newest_whole_checkpoint() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = place.start(&*provider).await;
    place.command(
        "for n in 9 10 11; do mkdir \"$FT_OUTPUT_DIR/checkpoint-$n\"; done; cd \"$FT_OUTPUT_DIR\"; \
         echo '{}' > checkpoint-9/trainer_state.json; echo '{}' > checkpoint-10/trainer_state.json; \
         printf '{\"gl' > checkpoint-11/trainer_state.json; echo > \"$1/saved\"",
    );
    until(|| place.control("saved").exists()).await;
    let work = WorkDir::for_key(&place.dir(), KEY).unwrap();
    fs::remove_file(place.control("environment")).unwrap();
    procfs::signal_group(place.pid(), rustix::process::Signal::KILL);
    until(|| !work.is_held().unwrap()).await;
    assert!(matches!(
        provider.poll(&id, &place.order()).await.unwrap(),
        TrainingState::Running(_)
    ));
    place.started(2).await;
    let resumed = place
        .work()
        .join("unfinished/checkpoint-10")
        .display()
        .to_string();
    assert_eq!(place.written("arguments").lines().last(), Some(resumed.as_str()));
    assert!(place.written("environment").contains("FT_ATTEMPT=2\n"));
    place.command(SUCCEED);
    success(place.outcome(&*provider).await);
    assert_eq!(place.starts(), 2);
}

#[tokio::test]
async fn training_whose_trainer_vanishes_four_times_fails() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = place.start(&*provider).await;
    let work = WorkDir::for_key(&place.dir(), KEY).unwrap();
    for start in 1..=4 {
        until(|| place.starts() == start).await;
        procfs::signal_group(place.pid(), rustix::process::Signal::KILL);
        until(|| !work.is_held().unwrap()).await;
        let polled = provider.poll(&id, &place.order()).await.unwrap();
        assert_eq!(
            matches!(polled, TrainingState::Running(_)),
            start < 4,
            "{polled:?}"
        );
    }
    assert!(failure(place.outcome(&*provider).await).contains("4 times"));
}

#[tokio::test]
async fn training_of_another_machine_is_neither_polled_nor_cancelled() {
    let place = TrainerFixture::new("");
    let provider = place.provider();
    let id = TrainingId(format!("gpu-box-0123456789abcdef/{KEY}"));
    let elsewhere = provider.poll(&id, &place.order()).await.unwrap_err();
    assert!(
        matches!(&elsewhere, ProviderError::Elsewhere(host) if host.contains("machine gpu-box ")),
        "{elsewhere}"
    );
    assert!(provider.cancel(&id, &place.order()).await.is_err());
    let out = TrainingId(
        provider
            .deterministic_id(&place.order())
            .unwrap()
            .0
            .replace(KEY, ".."),
    );
    assert!(provider.poll(&out, &place.order()).await.is_err());
}
