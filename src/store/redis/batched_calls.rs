//! The calls that every task makes, and that are therefore batched.

use super::batch::BatchItem;
use super::expiry::KEPT;
use super::keys::Keys;
use super::reply;
use super::script::{CLAIM, FINISH, RECORD, ScriptCall};
use crate::store::Claim;
use crate::task::{Attempt, AttemptRef, RunId, TaskId};
use redis::Value;

/// [`crate::store::Store::claim`].
pub(super) struct ClaimItem {
    pub(super) task: TaskId,
    pub(super) nonce: u64,
    pub(super) lease_ms: u64,
}

impl BatchItem for ClaimItem {
    type Output = Claim;

    fn bytes(&self) -> usize {
        size_of::<ClaimItem>()
    }

    fn call(items: Vec<ClaimItem>, keys: &Keys, run: &RunId) -> ScriptCall<'static> {
        let of_item = |item: &ClaimItem| [keys.task(run, item.task), keys.done(run, item.task)];
        let mut call = CLAIM.call(items.iter().flat_map(of_item)).number(KEPT.as_secs());
        for item in items {
            call = call.mark(item.task).owned(item.nonce.to_be_bytes().to_vec());
            call = call.number(item.lease_ms);
        }
        call
    }

    fn read(reply: Value) -> Option<Claim> {
        reply::claim(reply)
    }
}

/// [`crate::store::Store::record`].
pub(super) struct RecordItem {
    pub(super) attempt: AttemptRef,
    pub(super) slot: u32,
    pub(super) bytes: Vec<u8>,
}

impl BatchItem for RecordItem {
    type Output = Held;

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn call(items: Vec<RecordItem>, keys: &Keys, run: &RunId) -> ScriptCall<'static> {
        let mut call = RECORD.call(items.iter().map(|item| keys.task(run, item.attempt.task)));
        for item in items {
            call = attempt(call, item.attempt.attempt)
                .number(item.slot.into())
                .owned(item.bytes);
        }
        call
    }

    fn read(reply: Value) -> Option<Held> {
        held(reply)
    }
}

/// [`crate::store::Store::finish`].
pub(super) struct FinishItem {
    pub(super) attempt: AttemptRef,
    pub(super) outcome: Vec<u8>,
}

impl BatchItem for FinishItem {
    type Output = Held;

    fn bytes(&self) -> usize {
        self.outcome.len()
    }

    fn call(items: Vec<FinishItem>, keys: &Keys, run: &RunId) -> ScriptCall<'static> {
        let tasks = items.iter().map(|item| keys.task(run, item.attempt.task));
        let of_run = [keys.outcomes(run), keys.position(run)].into_iter();
        let mut call = FINISH.call(of_run.chain(tasks)).number(KEPT.as_secs());
        for item in items {
            call = attempt(call, item.attempt.attempt);
            call = call.owned(item.attempt.task.0.to_vec()).owned(item.outcome);
        }
        call
    }

    fn read(reply: Value) -> Option<Held> {
        held(reply)
    }
}

/// Whether the attempt was the current one.
pub(super) struct Held(pub(super) bool);

fn held(reply: Value) -> Option<Held> {
    reply::integer(reply).map(|flag| Held(flag != 0))
}

fn attempt(call: ScriptCall<'static>, attempt: Attempt) -> ScriptCall<'static> {
    call.number(attempt.0.into())
}
