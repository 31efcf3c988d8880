//! In a cluster: a training is started once, whichever processes are killed.

use super::{COMPILE, Trained};
use crate::cli::cluster::Cluster;
use crate::support::{Running, until};
use std::fs;

/// A worker for fine-tune tasks and one for the rest, a coordinator, and a training that goes on.
struct AtWork {
    cluster: Cluster,
    trained: Trained,
    trainer: Running,
    _other: Running,
    coordinator: Running,
    start: super::Start,
}

impl AtWork {
    fn begin() -> Option<AtWork> {
        Cluster::start().map(AtWork::begin_on)
    }

    fn begin_on(cluster: Cluster) -> AtWork {
        let trained = Trained::new();
        let trainer = finetuner(&cluster, &trained);
        let other = cluster.worker(&["--lanes", "bootstrap"]);
        let coordinator = cluster.start_in(&trained.folder, &COMPILE[..4]);
        let start = trained.until_started(1);
        trained.until_known();
        AtWork {
            cluster,
            trained,
            trainer,
            _other: other,
            coordinator,
            start,
        }
    }

    /// Waits until the coordinator receives progress again: a worker supervises the training.
    fn until_supervised(&mut self) {
        let step = |trained: &Trained| trained.manifest()["shards"][0]["progress"]["step"].as_u64();
        let before = step(&self.trained);
        until("a worker to supervise the training", || {
            assert!(!self.coordinator.has_ended(), "{}", self.coordinator.said());
            step(&self.trained).filter(|now| Some(*now) > before)
        });
    }

    /// The end: one training, and the student has it.
    fn end(self) {
        assert!(self.start.is_alive(), "the trainer died");
        self.trained.finish();
        self.coordinator.end().with(0);
        assert_eq!(self.trained.starts(), [self.start]);
        self.trained.check_models();
    }
}

fn finetuner(cluster: &Cluster, trained: &Trained) -> Running {
    finetuner_with(cluster, trained, "trainers.toml")
}

fn finetuner_with(cluster: &Cluster, trained: &Trained, trainers: &str) -> Running {
    let trainers = trained.folder.path(trainers);
    cluster.worker(&["--lanes", "finetune", "--trainers", trainers.to_str().unwrap()])
}

#[test]
fn next_worker_resumes_the_training_of_a_killed_worker() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.trainer.kill();
    at_work.trainer = finetuner(&at_work.cluster, &at_work.trained);
    at_work.until_supervised();
    // And the run knows who looks after it.
    until("the next worker to be seen", || {
        let status = at_work.cluster.status(&at_work.trained.folder)?;
        let mut workers = status["workers"].as_array()?.iter();
        let is_next = |worker: &serde_json::Value| worker["pid"] == at_work.trainer.pid();
        workers.any(is_next).then_some(())
    });
    at_work.end();
}

#[test]
fn next_worker_resumes_the_training_of_a_drained_worker() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.trainer.signal("TERM");
    let next = finetuner(&at_work.cluster, &at_work.trained);
    std::mem::replace(&mut at_work.trainer, next).end().with(0);
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn successor_of_a_killed_coordinator_waits_for_the_same_training() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.coordinator.kill();
    at_work.coordinator = at_work.cluster.start_in(&at_work.trained.folder, &COMPILE[..4]);
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn training_is_found_after_redis_flushall() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.cluster.redis.ask(&["FLUSHALL"]);
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn training_survives_a_killed_redis() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.cluster.redis.kill();
    at_work.cluster.redis.start_again();
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn lost_finetune_message_is_republished() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    at_work.trainer.kill();
    at_work.cluster.forget_finetune_message();
    at_work.trainer = finetuner(&at_work.cluster, &at_work.trained);
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn next_worker_gets_the_training_after_rabbitmq_was_wiped() {
    let Some(cluster) = Cluster::start_apart() else {
        return;
    };
    let mut at_work = AtWork::begin_on(cluster);
    let rabbitmq = at_work.cluster.rabbitmq.as_mut().unwrap();
    rabbitmq.kill_9();
    rabbitmq.wipe();
    rabbitmq.start_again();
    at_work.trainer.kill();
    at_work.trainer = finetuner(&at_work.cluster, &at_work.trained);
    at_work.until_supervised();
    at_work.end();
}

#[test]
fn vanished_trainer_restarts_from_its_checkpoint() {
    let Some(at_work) = AtWork::begin() else {
        return;
    };
    let checkpoint = find(&at_work.trained, "unfinished").join("checkpoint-7");
    fs::create_dir_all(&checkpoint).unwrap();
    fs::write(checkpoint.join("trainer_state.json"), "{\"global_step\": 7}").unwrap();
    at_work.start.vanish();
    let again = at_work.trained.until_started(2);
    let resumed = again.resumed.expect("a checkpoint to resume from");
    assert!(resumed.ends_with("checkpoint-7"), "{}", resumed.display());
    at_work.trained.finish();
    at_work.coordinator.end().with(0);
    assert_eq!(at_work.trained.starts().len(), 2);
    at_work.trained.check_models();
}

#[test]
fn take_over_secs_restarts_a_training_only_if_its_machine_is_gone() {
    let Some(mut at_work) = AtWork::begin() else {
        return;
    };
    // A machine is a folder of trainings: this one takes over trainings that no worker supervises.
    let trainers = at_work.trained.folder.read("trainers.toml");
    let another = format!("dir = \"elsewhere\"\ntake_over_secs = 1\n{trainers}");
    at_work.trained.folder.write("another.toml", another);
    let _another = finetuner_with(&at_work.cluster, &at_work.trained, "another.toml");
    for _ in 0..3 {
        at_work.until_supervised();
    }
    assert_eq!(
        at_work.trained.starts(),
        [at_work.start.clone()],
        "taken from a living one"
    );

    at_work.trainer.kill();
    at_work.start.vanish();
    let second = at_work.trained.until_started(2);
    assert_eq!(second.resumed, None, "its checkpoints are on the other machine");
    // It comes back with a training that is no longer its own.
    at_work.trainer = finetuner(&at_work.cluster, &at_work.trained);
    let left_over = find(&at_work.trained, "ended");
    until("the machine to give its training up", || {
        left_over.exists().then_some(())
    });
    at_work.until_supervised();
    at_work.trained.finish();
    at_work.coordinator.end().with(0);
    let starts = at_work.trained.starts();
    assert_eq!(starts, [at_work.start, second]);
    let models = at_work.trained.models();
    assert!(
        models.iter().all(|model| model.contains("/elsewhere/")),
        "{models:?}"
    );
    at_work.trained.check_models();
}

#[test]
fn cancel_in_a_cluster_stops_the_training() {
    let Some(at_work) = AtWork::begin() else {
        return;
    };
    let run = at_work.trained.manifest()["run"].as_str().unwrap().to_owned();
    let cancelled = at_work.cluster.run_in(&at_work.trained.folder, &["cancel", &run]);
    cancelled.with(0);
    at_work.coordinator.end().with(3);
    assert!(!at_work.start.is_alive());
    assert_eq!(at_work.trained.stopped(), 1);
    at_work.trained.finish();
    at_work
        .cluster
        .run_in(&at_work.trained.folder, &COMPILE[..4])
        .with(0);
    assert_eq!(at_work.trained.starts().len(), 2);
    at_work.trained.check_models();
}

#[test]
fn compile_without_a_worker_for_the_trainer_fails_before_any_lm_call() {
    let Some(cluster) = Cluster::start() else { return };
    let trained = Trained::new();
    let _worker = cluster.worker(&[]);
    let ended = cluster.run_in(&trained.folder, &COMPILE[..4]).with(1);
    ended.saying("scripted").saying("--trainers");
    assert_eq!(trained.folder.traced("run"), 0);
}

/// The folder of that name in the trainings' folder.
fn find(trained: &Trained, name: &str) -> std::path::PathBuf {
    let trainings = trained.folder.path("trainings");
    let mut found = fs::read_dir(&trainings)
        .unwrap()
        .map(|entry| entry.unwrap().path().join(name))
        .filter(|path| path.parent().unwrap().is_dir());
    found.next().expect("a training's folder")
}
