//! Many calls in one step: what is asked for while a step is on its way goes out together with the next.
//!
//! A step costs the server and us as much as the work of several tasks. SingleProcess, a call goes out at once; under load some tens share one, and
//! none waits for longer than one answer. A step is still all or nothing, and each item in it stands for itself.

use super::keys::Keys;
use super::link::Link;
use super::script::Call;
use crate::store::StoreError;
use crate::task::RunId;
use redis::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Steps of a kind on their way at once: while the server carries out one, the next is written.
const ON_THEIR_WAY: usize = 2;

/// Items that a step takes: well under a millisecond in which the server does nothing else.
const ITEMS: usize = 64;

/// Bytes that end a step early.
const BYTES: usize = 1 << 20;

/// One item of a step: a call of the store.
pub(super) trait Item: Send + Sized + 'static {
    /// What the call gives.
    type Reply: Send + 'static;

    /// What it brings along, about.
    fn bytes(&self) -> usize;

    /// The step that carries out the items, all of one run.
    fn call(items: Vec<Self>, keys: &Keys, run: &RunId) -> Call<'static>;

    /// Reads what the step says to one item; `None`: this version's step does not say that.
    fn read(reply: Value) -> Option<Self::Reply>;
}

/// Combines calls of one kind.
pub(super) struct Combiner<I: Item> {
    shared: Arc<Shared<I>>,
}

struct Shared<I: Item> {
    link: Arc<Link>,
    keys: Keys,
    /// Never held across an await.
    waiting: Mutex<Waiting<I>>,
}

struct Waiting<I: Item> {
    items: VecDeque<Asked<I>>,
    on_their_way: usize,
}

struct Asked<I: Item> {
    run: RunId,
    item: I,
    answer: Answer<I>,
}

type Answer<I> = oneshot::Sender<Result<<I as Item>::Reply, StoreError>>;

impl<I: Item> Combiner<I> {
    pub(super) fn new(link: Arc<Link>, keys: Keys) -> Combiner<I> {
        let waiting = Waiting {
            items: VecDeque::new(),
            on_their_way: 0,
        };
        Combiner {
            shared: Arc::new(Shared {
                link,
                keys,
                waiting: Mutex::new(waiting),
            }),
        }
    }

    /// Carries out the call. Cancelled, it may be carried out all the same.
    pub(super) async fn ask(&self, run: &RunId, item: I) -> Result<I::Reply, StoreError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            run: run.clone(),
            item,
            answer,
        };
        if self.shared.add(asked) {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.send_on().await });
        }
        answered.await.unwrap_or_else(|_| {
            Err(StoreError::Unreachable {
                place: self.shared.link.address().place.clone(),
                message: "the call ended without an answer".to_owned(),
            })
        })
    }
}

impl<I: Item> Shared<I> {
    /// Gives whether somebody has to be made to send it.
    fn add(&self, asked: Asked<I>) -> bool {
        let mut waiting = self.waiting();
        waiting.items.push_back(asked);
        let is_free = waiting.on_their_way < ON_THEIR_WAY;
        waiting.on_their_way += usize::from(is_free);
        is_free
    }

    /// Sends steps until nothing waits.
    async fn send_on(&self) {
        loop {
            // Whoever is about to ask, too, comes along.
            tokio::task::yield_now().await;
            let Some((run, items, answers)) = self.take() else {
                return;
            };
            let said = self.link.run(I::call(items, &self.keys, &run)).await;
            self.tell(said, answers);
        }
    }

    /// The next items, all of one run; `None`, and one sender less, when there are none.
    fn take(&self) -> Option<(RunId, Vec<I>, Vec<Answer<I>>)> {
        let mut waiting = self.waiting();
        let Some(first) = waiting.items.front() else {
            waiting.on_their_way -= 1;
            return None;
        };
        let run = first.run.clone();
        let (mut items, mut answers, mut others) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut bytes = 0;
        while items.len() < ITEMS
            && bytes < BYTES
            && let Some(asked) = waiting.items.pop_front()
        {
            if asked.run == run {
                bytes += asked.item.bytes();
                items.push(asked.item);
                answers.push(asked.answer);
            } else {
                others.push_back(asked);
            }
        }
        others.append(&mut waiting.items);
        waiting.items = others;
        Some((run, items, answers))
    }

    fn tell(&self, said: Result<Value, StoreError>, answers: Vec<Answer<I>>) {
        let strange = || StoreError::Corrupt {
            place: self.link.address().place.clone(),
            message: format!(
                "namespace {} holds what bsft did not write",
                self.keys.namespace()
            ),
        };
        let replies = match said {
            Ok(Value::Array(replies)) if replies.len() == answers.len() => replies,
            other => {
                let error = other.err().unwrap_or_else(strange);
                for answer in answers {
                    // Who asked may be gone.
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
        };
        for (answer, reply) in answers.into_iter().zip(replies) {
            let _ = answer.send(I::read(reply).ok_or_else(strange));
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting<I>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
