//! What travels on the queues.

use crate::config;
use bsft::message::{BootstrapTask, Completion, MESSAGE_VERSION, decode, encode, run_of};
use bsft::task::{RunId, TaskId};
use proptest::prelude::*;

fn bootstrap_task() -> impl Strategy<Value = BootstrapTask> {
    (
        any::<[u8; 16]>(),
        "\\PC{0,40}",
        "[0-9a-f]{16}",
        any::<(u32, u32, u64)>(),
        "(\\PC|\n){0,200}",
    )
        .prop_map(
            |(task, run, job, (teacher, example, labels), data)| BootstrapTask {
                v: MESSAGE_VERSION,
                run: RunId(run),
                job,
                task: TaskId(task),
                teacher,
                example,
                labels,
                answered: false,
                notes: true,
                data,
            },
        )
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn bootstrap_task_round_trips_through_encode_and_decode(task in bootstrap_task()) {
        prop_assert_eq!(BootstrapTask::decode(&task.encode()).unwrap(), task);
    }

    #[test]
    fn completion_round_trips_through_encode_and_decode(run in "\\PC{0,40}", task: [u8; 16]) {
        let completion = Completion { v: MESSAGE_VERSION, run: RunId(run), task: TaskId(task) };
        prop_assert_eq!(decode::<Completion>(&encode(&completion)).unwrap(), completion);
    }

    #[test]
    fn run_of_finds_the_run_of_every_message(task in bootstrap_task(), version: u32) {
        let run = task.run.clone();
        let completion = Completion { v: version, run: run.clone(), task: task.task };
        prop_assert_eq!(run_of(&encode(&completion)), Some(run.clone()));
        let newer = BootstrapTask { v: version, ..task };
        prop_assert_eq!(run_of(&newer.encode()), Some(run));
    }

    #[test]
    fn run_of_finds_none_in_a_cut_head(task in bootstrap_task(), at in any::<prop::sample::Index>()) {
        let head = encode(&task);
        prop_assert_eq!(run_of(&head[..at.index(head.len())]), None);
    }

    #[test]
    fn decode_of_a_cut_or_changed_message_never_panics(
        task in bootstrap_task(),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let bytes = task.encode();
        let at = at.index(bytes.len());
        let _ = BootstrapTask::decode(&bytes[..at]);
        let mut changed = bytes.clone();
        changed[at] = byte;
        let _ = BootstrapTask::decode(&changed);
        let _ = decode::<Completion>(&changed);
        let _ = run_of(&changed);
    }

    #[test]
    fn task_id_parses_back_from_its_text(id: [u8; 16]) {
        let id = TaskId(id);
        let text = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<TaskId>(&text).unwrap(), id);
    }
}
