//! Batches calls: calls that arrive while a script is in flight share the next one.
//!
//! A script costs the server and the client as much as the work of several tasks. A single call is sent at
//! once; under load some tens share a script, and none waits longer than one answer. A script is atomic,
//! and each call in it succeeds or fails on its own.

use super::connection::RedisLink;
use super::keys::Keys;
use super::script::ScriptCall;
use crate::lock::lock;
use crate::store::StoreError;
use crate::task::RunId;
use redis::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// Scripts of one kind in flight: while the server executes one, the next is written.
const MAX_IN_FLIGHT: usize = 2;

/// Calls per script: well under a millisecond during which the server does nothing else.
const MAX_ITEMS: usize = 64;

/// Bytes after which a script takes no further calls.
const MAX_BYTES: usize = 1 << 20;

/// One call in a batch.
pub(super) trait BatchItem: Send + Sized + 'static {
    /// What the call returns.
    type Output: Send + 'static;

    /// Approximate size of the arguments.
    fn bytes(&self) -> usize;

    /// The script for the items, all of one run.
    fn call(items: Vec<Self>, keys: &Keys, run: &RunId) -> ScriptCall<'static>;

    /// Parses the reply to one item. `None` if this version's script does not return that.
    fn read(reply: Value) -> Option<Self::Output>;
}

/// Batches calls of one kind.
pub(super) struct Batcher<I: BatchItem> {
    shared: Arc<BatcherState<I>>,
}

struct BatcherState<I: BatchItem> {
    link: Arc<RedisLink>,
    keys: Keys,
    /// Never held across an await.
    pending: Mutex<Pending<I>>,
}

struct Pending<I: BatchItem> {
    items: VecDeque<QueuedItem<I>>,
    in_flight: usize,
}

struct QueuedItem<I: BatchItem> {
    run: RunId,
    item: I,
    answer: ReplySender<I>,
}

type ReplySender<I> = oneshot::Sender<Result<<I as BatchItem>::Output, StoreError>>;

impl<I: BatchItem> Batcher<I> {
    pub(super) fn new(link: Arc<RedisLink>, keys: Keys) -> Batcher<I> {
        let pending = Pending {
            items: VecDeque::new(),
            in_flight: 0,
        };
        Batcher {
            shared: Arc::new(BatcherState {
                link,
                keys,
                pending: Mutex::new(pending),
            }),
        }
    }

    /// Executes the call. If the future is dropped, it may still be executed.
    pub(super) async fn submit(&self, run: &RunId, item: I) -> Result<I::Output, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queued = QueuedItem {
            run: run.clone(),
            item,
            answer,
        };
        if self.shared.add(queued) {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.send_batches().await });
        }
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Unreachable {
                place: self.shared.link.address().place.clone(),
                message: "the call ended without an answer".to_owned(),
            })
        })
    }
}

impl<I: BatchItem> BatcherState<I> {
    /// Queues the call. Returns whether a new sender has to be started.
    fn add(&self, queued: QueuedItem<I>) -> bool {
        let mut pending = self.pending();
        pending.items.push_back(queued);
        let is_free = pending.in_flight < MAX_IN_FLIGHT;
        pending.in_flight += usize::from(is_free);
        is_free
    }

    /// Sends scripts until no call is pending.
    async fn send_batches(&self) {
        loop {
            // Lets tasks that are about to submit join this batch.
            tokio::task::yield_now().await;
            let Some((run, items, senders)) = self.take() else {
                return;
            };
            let reply = self.link.run(I::call(items, &self.keys, &run)).await;
            self.distribute(reply, senders);
        }
    }

    /// The next items, all of one run. `None`, and one sender less, when none are pending.
    fn take(&self) -> Option<(RunId, Vec<I>, Vec<ReplySender<I>>)> {
        let mut pending = self.pending();
        let Some(first) = pending.items.front() else {
            pending.in_flight -= 1;
            return None;
        };
        let run = first.run.clone();
        let (mut items, mut senders, mut others) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut bytes = 0;
        while items.len() < MAX_ITEMS
            && bytes < MAX_BYTES
            && let Some(queued) = pending.items.pop_front()
        {
            if queued.run == run {
                bytes += queued.item.bytes();
                items.push(queued.item);
                senders.push(queued.answer);
            } else {
                others.push_back(queued);
            }
        }
        others.append(&mut pending.items);
        pending.items = others;
        Some((run, items, senders))
    }

    fn distribute(&self, reply: Result<Value, StoreError>, senders: Vec<ReplySender<I>>) {
        let strange = || StoreError::ForeignData {
            place: self.link.address().place.clone(),
            message: format!(
                "a value in the namespace {} has an unknown form",
                self.keys.namespace()
            ),
        };
        let replies = match reply {
            Ok(Value::Array(replies)) if replies.len() == senders.len() => replies,
            other => {
                let error = other.err().unwrap_or_else(strange);
                for answer in senders {
                    // Fails if the caller was dropped.
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
        };
        for (answer, reply) in senders.into_iter().zip(replies) {
            let _ = answer.send(I::read(reply).ok_or_else(strange));
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending<I>> {
        lock(&self.pending)
    }
}
