//! Names and arguments of the AMQP queues.
//!
//! The names contain a version. Raise it when an argument changes; RabbitMQ rejects a redeclaration with
//! other arguments.

use crate::broker::{BrokerError, Queue};
use crate::task::TaskId;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::time::Duration;

/// Deliveries without an ack after which a message goes to the dead letters. RabbitMQ counts every message
/// that a crashing worker had prefetched, so a low limit would drop healthy tasks in one bad night. The
/// limit exists for a message that crashes its reader before the store, which counts a task's failures, is
/// reached.
const DELIVERY_LIMIT: i64 = 100;

/// Dead letters kept, newest first to stay. More of them have one common cause, and the disk is bounded.
const DEAD_LETTERS_KEPT: i64 = 100_000;

/// How long a completions queue is kept after its last consumer. Its messages only point to the store.
const COMPLETIONS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The longest namespace, and the longest run id used verbatim: a queue's name has at most 255 bytes.
const LONGEST_PART: usize = 100;

/// Delays share a wait queue within a factor of two, from this to [`LONGEST_WAIT_MS`].
const SHORTEST_WAIT_MS: u64 = 256;
/// About an hour; longer delays share the last queue.
const LONGEST_WAIT_MS: u64 = 1 << 22;

/// The namespace of one installation, which prefixes its queue names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    namespace: String,
}

/// A queue's name and arguments.
pub(super) struct Declaration {
    pub(super) name: ShortString,
    pub(super) arguments: FieldTable,
    /// Where dead letters go, or `None` for a dead-letter or wait queue. Declared first.
    pub(super) dead: Option<Box<Declaration>>,
}

impl Names {
    /// Accepts letters, digits, `-`, `_` and `.`.
    pub(super) fn new(namespace: &str) -> Result<Names, BrokerError> {
        if plain(namespace) {
            return Ok(Names {
                namespace: namespace.to_owned(),
            });
        }
        Err(BrokerError::Refused {
            url: "(not connected)".to_owned(),
            message: format!(
                "the namespace {namespace:?} cannot be part of a queue's name: write 1 to {LONGEST_PART} letters, digits, \
                 '-', '_' or '.'"
            ),
        })
    }

    /// The declaration of a queue.
    pub(super) fn queue(&self, queue: &Queue) -> Declaration {
        let mut arguments = quorum();
        put(
            &mut arguments,
            "x-delivery-limit",
            AMQPValue::LongLongInt(DELIVERY_LIMIT),
        );
        dead_letters_to(&mut arguments, &self.name(&format!("dead.{}", queue.name())));
        self.expires_with(queue, &mut arguments);
        let mut dead = quorum();
        put(
            &mut dead,
            "x-max-length",
            AMQPValue::LongLongInt(DEAD_LETTERS_KEPT),
        );
        Declaration {
            name: self.queue_name(queue),
            arguments,
            dead: Some(Box::new(Declaration {
                name: self.name(&format!("dead.{}", queue.name())),
                arguments: dead,
                dead: None,
            })),
        }
    }

    /// Where messages of the queue wait for about that delay. RabbitMQ expires messages at the head only,
    /// so a message may wait for the longest delay of its wait queue: up to twice its own.
    pub(super) fn wait(&self, queue: &Queue, delay_ms: u64) -> Declaration {
        let bound = delay_ms
            .checked_next_power_of_two()
            .unwrap_or(LONGEST_WAIT_MS)
            .clamp(SHORTEST_WAIT_MS, LONGEST_WAIT_MS);
        let mut arguments = quorum();
        dead_letters_to(&mut arguments, &self.queue_name(queue));
        self.expires_with(queue, &mut arguments);
        Declaration {
            name: self.name(&format!("wait.{}.{bound}ms", own_name(queue))),
            arguments,
            dead: None,
        }
    }

    /// All wait queues of the queue, whether they are declared or not.
    pub(super) fn waits(&self, queue: &Queue) -> impl Iterator<Item = Declaration> {
        let exponents = SHORTEST_WAIT_MS.ilog2()..=LONGEST_WAIT_MS.ilog2();
        exponents.map(move |exponent| self.wait(queue, 1 << exponent))
    }

    /// A temporary queue for checking permissions.
    pub(super) fn probe(&self) -> ShortString {
        self.name(&format!("probe.{:016x}", fastrand::u64(..)))
    }

    fn queue_name(&self, queue: &Queue) -> ShortString {
        self.name(&own_name(queue))
    }

    fn expires_with(&self, queue: &Queue, arguments: &mut FieldTable) {
        if let Queue::Completions(_) = queue {
            let ms = i64::try_from(COMPLETIONS_KEPT.as_millis()).unwrap_or(i64::MAX);
            put(arguments, "x-expires", AMQPValue::LongLongInt(ms));
        }
    }

    fn name(&self, rest: &str) -> ShortString {
        format!("bsft.{}.v1.{rest}", self.namespace).into()
    }
}

fn own_name(queue: &Queue) -> String {
    match queue {
        Queue::Bootstrap | Queue::Finetune => queue.name().to_owned(),
        Queue::Completions(run) if plain(&run.0) => format!("{}.{run}", queue.name()),
        Queue::Completions(run) => format!("{}.~{}", queue.name(), TaskId::derive(&[run.0.as_bytes()])),
    }
}

fn plain(part: &str) -> bool {
    (1..=LONGEST_PART).contains(&part.len())
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    put(&mut arguments, "x-queue-type", text("quorum"));
    arguments
}

/// At least once: a dead letter stays in its queue until the target has it. That requires `reject-publish`;
/// without it RabbitMQ silently falls back to at most once.
fn dead_letters_to(arguments: &mut FieldTable, queue: &ShortString) {
    put(arguments, "x-dead-letter-exchange", text(""));
    put(arguments, "x-dead-letter-routing-key", text(queue.as_str()));
    put(arguments, "x-dead-letter-strategy", text("at-least-once"));
    put(arguments, "x-overflow", text("reject-publish"));
}

fn put(arguments: &mut FieldTable, name: &str, value: AMQPValue) {
    arguments.insert(name.into(), value);
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::RunId;

    fn names() -> Names {
        Names::new("team-a").unwrap()
    }

    #[test]
    fn queue_names_contain_namespace_version_and_run() {
        let run = Queue::Completions(RunId("0af3".to_owned()));
        let name = |queue| names().queue(&queue).name.to_string();
        assert_eq!(name(Queue::Bootstrap), "bsft.team-a.v1.bootstrap");
        assert_eq!(name(Queue::Finetune), "bsft.team-a.v1.finetune");
        assert_eq!(name(run), "bsft.team-a.v1.completions.0af3");
        let dead = names().queue(&Queue::Finetune).dead.unwrap();
        assert_eq!(dead.name.as_str(), "bsft.team-a.v1.dead.finetune");
    }

    #[test]
    fn every_run_id_has_a_distinct_short_queue_name() {
        let name = |id: &str| {
            let queue = Queue::Completions(RunId(id.to_owned()));
            names().queue(&queue).name.to_string()
        };
        let odd = [
            name("a run"),
            name("a\u{a0}run"),
            name(""),
            name(&"x".repeat(300)),
        ];
        for (i, one) in odd.iter().enumerate() {
            assert!(one.len() < 200, "{one}");
            assert!(!odd[..i].contains(one), "{one}");
        }
    }

    #[test]
    fn wait_rounds_delays_up_to_powers_of_two() {
        let name = |ms| names().wait(&Queue::Bootstrap, ms).name.to_string();
        assert_eq!(name(1), "bsft.team-a.v1.wait.bootstrap.256ms");
        assert_eq!(name(2_000), "bsft.team-a.v1.wait.bootstrap.2048ms");
        assert_eq!(name(2_049), "bsft.team-a.v1.wait.bootstrap.4096ms");
        assert_eq!(name(u64::MAX), "bsft.team-a.v1.wait.bootstrap.4194304ms");
    }

    #[test]
    fn waits_lists_each_queue_that_wait_returns() {
        let names = names();
        let all: Vec<_> = names.waits(&Queue::Finetune).map(|wait| wait.name).collect();
        for ms in [0, 1, 256, 257, 70_000, 1 << 22, u64::MAX] {
            let wait = names.wait(&Queue::Finetune, ms).name;
            assert_eq!(all.iter().filter(|name| **name == wait).count(), 1, "{wait}");
        }
    }

    #[test]
    fn namespace_with_other_characters_is_refused() {
        for namespace in ["", "a b", "a/b", "ä", &"x".repeat(101)] {
            let e = Names::new(namespace).unwrap_err();
            assert!(e.to_string().contains("cannot be part of a queue's name"), "{e}");
        }
    }
}
