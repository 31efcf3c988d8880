//! Idempotency of calls whose answers were lost: the server may have executed them, and a repetition must
//! not count twice.
//!
//! A claim carries a nonce. Repeated with the same nonce, it returns the attempt that it took; a repeated
//! release finds its work done. Records, outcomes and the other calls can be repeated as they are.

use crate::lock::lock;
use crate::task::{Attempt, RunId, TaskId};
use std::collections::HashMap;
use std::sync::Mutex;

/// Remembered calls. A forgotten one costs its task at most one failure and the rest of a lease.
const REMEMBERED: usize = 1 << 16;

/// A call that must not count twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum InDoubtRequest {
    Claim(RunId, TaskId),
    Release(RunId, TaskId, Attempt),
}

/// The calls without an answer, with their nonces.
#[derive(Default)]
pub(super) struct InDoubtCalls {
    lost: Mutex<HashMap<InDoubtRequest, u64>>,
}

/// A call in flight. Dropped without [`InDoubtCall::answered`], as after an error or when its caller was
/// dropped, it is remembered.
pub(super) struct InDoubtCall<'a> {
    in_doubt: &'a InDoubtCalls,
    request: Option<InDoubtRequest>,
    pub(super) nonce: u64,
    /// Whether the call repeats one whose answer was lost.
    pub(super) repeats: bool,
}

impl InDoubtCalls {
    /// Starts a call. A concurrent second call for the same request is a call of its own.
    pub(super) fn begin(&self, request: InDoubtRequest) -> InDoubtCall<'_> {
        let lost = lock(&self.lost).remove(&request);
        InDoubtCall {
            in_doubt: self,
            request: Some(request),
            nonce: lost.unwrap_or_else(|| fastrand::u64(..)),
            repeats: lost.is_some(),
        }
    }
}

impl InDoubtCall<'_> {
    /// The answer arrived: the call is not remembered.
    pub(super) fn answered(mut self) {
        self.request = None;
    }
}

impl Drop for InDoubtCall<'_> {
    fn drop(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let mut lost = lock(&self.in_doubt.lost);
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
    fn begin_reuses_the_nonce_of_an_unanswered_call_once() {
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
    fn remembered_calls_are_bounded() {
        let in_doubt = InDoubtCalls::default();
        for n in 0..=REMEMBERED as u64 {
            let request = InDoubtRequest::Release(RunId(n.to_string()), TaskId([0; 16]), Attempt(1));
            drop(in_doubt.begin(request));
        }
        assert_eq!(in_doubt.lost.lock().unwrap().len(), 1);
    }
}
