//! The broker of a self-contained run: in-process queues, with the guarantees of a server that never
//! restarts.
//!
//! A queue has no thread and no task of its own: a waiting consumer also keeps the timer for delayed
//! messages. Each burst of messages wakes one consumer, which wakes the next only if it leaves messages
//! behind.

use super::{Broker, BrokerError, Consumer, Delivery, Disposition, Queue, Receipt};
use crate::lock::lock;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Dead letters kept per queue, newest first to stay. More of them have one common cause, and memory is
/// bounded.
pub const DEAD_LETTERS_KEPT: usize = 1_000;

/// Clones share their queues.
#[derive(Clone)]
pub struct EmbeddedBroker {
    queues: Arc<Mutex<Queues>>,
}

impl EmbeddedBroker {
    pub fn new() -> EmbeddedBroker {
        EmbeddedBroker {
            queues: Arc::default(),
        }
    }

    /// Ends every consumer for good and rejects publishing. Unacked deliveries can still be resolved.
    pub fn close(&self) {
        let mut queues = self.lock();
        queues.closed = true;
        for queue in queues.by_name.values() {
            let mut inner = queue.lock();
            inner.closed = true;
            for idle in std::mem::take(&mut inner.idle) {
                idle.wake.notify_one();
            }
            for blocked in std::mem::take(&mut inner.blocked) {
                blocked.wake.notify_one();
            }
        }
    }

    /// The newest messages that were rejected, oldest first.
    pub fn dead_letters(&self, queue: &Queue) -> Vec<Vec<u8>> {
        let queue = self.queue(queue);
        let contents = queue.lock();
        contents.dead.iter().map(|body| body.to_vec()).collect()
    }

    /// Returns the queue, and creates it at its first use.
    fn queue(&self, queue: &Queue) -> Arc<QueueState> {
        let mut queues = self.lock();
        if let Some(known) = queues.by_name.get(queue) {
            return Arc::clone(known);
        }
        let new = Arc::new(QueueState::default());
        new.lock().closed = queues.closed;
        queues.by_name.insert(queue.clone(), Arc::clone(&new));
        new
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        lock(&self.queues)
    }
}

impl Default for EmbeddedBroker {
    fn default() -> EmbeddedBroker {
        EmbeddedBroker::new()
    }
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError> {
        let queue = self.queue(queue);
        let mut inner = queue.lock();
        if inner.closed {
            return Err(BrokerError::Closed);
        }
        inner.ready.extend(messages.into_iter().map(|body| QueuedMessage {
            body: Arc::new(body),
            redelivered: false,
            postponed: 0,
        }));
        inner.wake_next();
        Ok(())
    }

    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError> {
        let queue = self.queue(queue);
        let inner = queue.lock();
        if inner.closed {
            return Err(BrokerError::Closed);
        }
        Ok(inner.ready.len() + inner.later.len())
    }

    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError> {
        Ok(self.queue(queue).lock().dead.len())
    }

    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError> {
        let queue = self.queue(queue);
        if queue.lock().closed {
            return Err(BrokerError::Closed);
        }
        let state = ConsumerState {
            prefetch: prefetch.get(),
            unacked: AtomicUsize::new(0),
            wake: Notify::new(),
        };
        Ok(Box::new(EmbeddedConsumer {
            queue,
            state: Arc::new(state),
        }))
    }
}

#[derive(Default)]
struct Queues {
    by_name: HashMap<Queue, Arc<QueueState>>,
    closed: bool,
}

#[derive(Default)]
struct QueueState(Mutex<QueueContents>);

impl QueueState {
    /// No code panics while it holds the lock, so the contents of a poisoned lock are consistent.
    fn lock(&self) -> MutexGuard<'_, QueueContents> {
        lock(&self.0)
    }
}

#[derive(Clone)]
struct QueuedMessage {
    body: Arc<Vec<u8>>,
    redelivered: bool,
    postponed: u32,
}

#[derive(Default)]
struct QueueContents {
    ready: VecDeque<QueuedMessage>,
    /// Requeued messages by due time; the number separates equal times.
    later: BTreeMap<(Instant, u64), QueuedMessage>,
    requeued: u64,
    /// Consumers that wait for a message, each at most once. Code that leaves `ready` or `later` non-empty
    /// wakes one.
    idle: VecDeque<Arc<ConsumerState>>,
    /// Consumers that wait for one of their own deliveries to end, so that `close` can end them.
    blocked: Vec<Arc<ConsumerState>>,
    dead: VecDeque<Arc<Vec<u8>>>,
    closed: bool,
}

impl QueueContents {
    fn wake_next(&mut self) {
        if (!self.ready.is_empty() || !self.later.is_empty())
            && let Some(idle) = self.idle.pop_front()
        {
            idle.wake.notify_one();
        }
    }

    fn take(&mut self) -> Option<QueuedMessage> {
        if !self.later.is_empty() {
            let now = Instant::now();
            while let Some(due) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
                self.ready.push_back(due.remove());
            }
        }
        self.ready.pop_front()
    }
}

struct ConsumerState {
    prefetch: usize,
    unacked: AtomicUsize,
    wake: Notify,
}

struct EmbeddedConsumer {
    queue: Arc<QueueState>,
    state: Arc<ConsumerState>,
}

#[async_trait]
impl Consumer for EmbeddedConsumer {
    /// Cancel safe: a message is taken in the same poll that returns it.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        loop {
            let due = {
                let mut inner = self.queue.lock();
                if inner.closed {
                    return Ok(None);
                }
                if self.state.unacked.load(Ordering::Acquire) >= self.state.prefetch {
                    inner.blocked.push(Arc::clone(&self.state));
                    None
                } else if let Some(message) = inner.take() {
                    inner.wake_next();
                    self.state.unacked.fetch_add(1, Ordering::AcqRel);
                    let (body, redelivered) = (Arc::clone(&message.body), message.redelivered);
                    let postponed = message.postponed;
                    let (queue, state) = (Arc::clone(&self.queue), Arc::clone(&self.state));
                    let unacked = EmbeddedUnackedDelivery {
                        queue,
                        state,
                        message: Some(message),
                    };
                    return Ok(Some(Delivery::new(
                        body,
                        redelivered,
                        postponed,
                        Box::new(unacked),
                    )));
                } else {
                    inner.idle.push_back(Arc::clone(&self.state));
                    inner.later.first_key_value().map(|((due, _), _)| *due)
                }
            };
            let mut waiting = WaitGuard {
                consumer: self,
                cancelled: true,
            };
            match due {
                // The next iteration checks whether this was a wake-up or the due time.
                Some(due) => drop(tokio::time::timeout_at(due, self.state.wake.notified()).await),
                None => self.state.wake.notified().await,
            }
            waiting.cancelled = false;
        }
    }
}

/// Removes the consumer from the lists when its wait ends. If the wait was cancelled, it passes on a
/// wake-up that it may have received, or the watch over `later`. After a real wake-up it must not: two
/// consumers would wake each other forever.
struct WaitGuard<'a> {
    consumer: &'a EmbeddedConsumer,
    cancelled: bool,
}

impl Drop for WaitGuard<'_> {
    fn drop(&mut self) {
        let state = &self.consumer.state;
        let mut inner = self.consumer.queue.lock();
        inner.idle.retain(|idle| !Arc::ptr_eq(idle, state));
        inner.blocked.retain(|blocked| !Arc::ptr_eq(blocked, state));
        if self.cancelled {
            inner.wake_next();
        }
    }
}

/// The broker's side of a delivery.
struct EmbeddedUnackedDelivery {
    queue: Arc<QueueState>,
    state: Arc<ConsumerState>,
    message: Option<QueuedMessage>,
}

impl EmbeddedUnackedDelivery {
    fn end(&mut self, disposition: Disposition) {
        let Some(mut message) = self.message.take() else {
            return;
        };
        message.redelivered = true;
        message.postponed += u32::from(matches!(disposition, Disposition::Postpone { .. }));
        let mut inner = self.queue.lock();
        match disposition {
            Disposition::Ack => {}
            Disposition::Requeue { after } if after.is_zero() => inner.ready.push_back(message),
            Disposition::Requeue { after } | Disposition::Postpone { after } => {
                inner.requeued += 1;
                let key = (Instant::now() + after, inner.requeued);
                inner.later.insert(key, message);
            }
            Disposition::Reject => {
                if inner.dead.len() == DEAD_LETTERS_KEPT {
                    inner.dead.pop_front();
                }
                inner.dead.push_back(message.body);
            }
        }
        let before = self.state.unacked.fetch_sub(1, Ordering::AcqRel);
        if before == self.state.prefetch {
            self.state.wake.notify_one();
        }
        if disposition != Disposition::Ack {
            inner.wake_next();
        }
    }
}

#[async_trait]
impl Receipt for EmbeddedUnackedDelivery {
    async fn resolve(mut self: Box<Self>, disposition: Disposition) -> Result<(), BrokerError> {
        self.end(disposition);
        Ok(())
    }
}

impl Drop for EmbeddedUnackedDelivery {
    fn drop(&mut self) {
        self.end(Disposition::Requeue {
            after: std::time::Duration::ZERO,
        });
    }
}
