//! Calls whose answers got lost: the command may have been carried out, and its repetition must not count twice.
//!
//! A claim carries a nonce; repeated with the same one, it is given the attempt that it took, and a release that is repeated finds
//! its work done. Records, outcomes and the rest can be repeated as they are.

use crate::task::{Attempt, RunId, TaskId};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Calls in doubt that are remembered. One that is forgotten costs its task at most one failure, and the wait for a lease to end.
const REMEMBERED: usize = 1 << 16;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum InDoubtRequest {
    Claim(RunId, TaskId),
    Release(RunId, TaskId, Attempt),
}

/// The calls in doubt, with their nonces.
#[derive(Default)]
pub(super) struct InDoubtCalls {
    lost: Mutex<HashMap<InDoubtRequest, u64>>,
}

/// A call whose answer is awaited. Dropped without [`InDoubtCall::answered`], as after an error or when its caller went away, it is remembered.
pub(super) struct InDoubtCall<'a> {
    in_doubt: &'a InDoubtCalls,
    request: Option<InDoubtRequest>,
    pub(super) nonce: u64,
    /// Whether the call repeats one whose answer got lost.
    pub(super) repeats: bool,
}

impl InDoubtCalls {
    /// A call begins. A second one beside it, for the same, is a call of its own.
    pub(super) fn begin(&self, request: InDoubtRequest) -> InDoubtCall<'_> {
        let lost = self
            .lost
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&request);
        InDoubtCall {
            in_doubt: self,
            request: Some(request),
            nonce: lost.unwrap_or_else(|| fastrand::u64(..)),
            repeats: lost.is_some(),
        }
    }
}

impl InDoubtCall<'_> {
    /// The answer is here.
    pub(super) fn answered(mut self) {
        self.request = None;
    }
}

impl Drop for InDoubtCall<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let mut lost = self.in_doubt.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() >= REMEMBERED {
            lost.clear();
        }
        lost.insert(request, self.nonce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(task: u8) -> InDoubtRequest {
        InDoubtRequest::Claim(RunId("r".into()), TaskId([task; 16]))
    }

    #[test]
    fn only_a_call_whose_answer_got_lost_is_repeated_and_only_once() {
        let in_doubt = InDoubtCalls::default();
        let first = in_doubt.begin(claim(1));
        let beside = in_doubt.begin(claim(1));
        assert_ne!(first.nonce, beside.nonce);
        beside.answered();
        let nonce = first.nonce;
        drop(first);
        assert!(!in_doubt.begin(claim(2)).repeats);
        let again = in_doubt.begin(claim(1));
        assert!(again.repeats && again.nonce == nonce);
        again.answered();
        assert!(!in_doubt.begin(claim(1)).repeats);
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let in_doubt = InDoubtCalls::default();
        for n in 0..=REMEMBERED as u64 {
            let request = InDoubtRequest::Release(RunId(n.to_string()), TaskId([0; 16]), Attempt(1));
            drop(in_doubt.begin(request));
        }
        assert_eq!(in_doubt.lost.lock().unwrap().len(), 1);
    }
}
