//! The Redis keys of the store. All keys of a run share its id as hash tag, so that a cluster keeps them on
//! one node and a script may access them together.

use crate::account::SharedKey;
use crate::task::{RunId, TaskId};

/// The version of the key layout and the Lua scripts. Another version does not see these keys.
const LAYOUT: &str = "v1";

/// Sets over which a run's trimmed tasks are spread: two million tasks are 512 per set.
const BUCKETS: u16 = 4096;

/// Identifies a task in its set of trimmed tasks. Two tasks of a run share mark and set once in 10^11 runs
/// of a million tasks. Then the second one's first message counts as a repetition, and it is published
/// again.
pub(super) fn mark(task: TaskId) -> i64 {
    let [.., a, b, c, d, e, f, g, h] = task.0;
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// The keys of one namespace.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    namespace: String,
}

impl Keys {
    /// `None` if the name is invalid. Braces would replace the hash tag; the remaining characters suit an
    /// ACL's `~name:*`.
    pub(super) fn new(namespace: &str) -> Option<Keys> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        let named = !namespace.is_empty() && namespace.bytes().all(plain);
        named.then(|| Keys {
            namespace: namespace.to_owned(),
        })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A string: the job's bytes.
    pub(super) fn job(&self, run: &RunId) -> String {
        self.run_key(run, "job")
    }

    /// A stream: one entry per outcome that is not trimmed; the entry's id is the position.
    pub(super) fn outcomes(&self, run: &RunId) -> String {
        self.run_key(run, "outcomes")
    }

    /// A string: the last position assigned.
    pub(super) fn position(&self, run: &RunId) -> String {
        self.run_key(run, "position")
    }

    /// One of [`BUCKETS`] sets of integers: the marks of trimmed tasks. A set of up to 512 takes 8 bytes
    /// each.
    pub(super) fn done(&self, run: &RunId, task: TaskId) -> String {
        let bucket = u16::from_be_bytes([task.0[0], task.0[1]]) % BUCKETS;
        self.run_key(run, &format!("done:{bucket}"))
    }

    /// A hash: a task that is not trimmed. The Lua prelude lists its fields.
    pub(super) fn task(&self, run: &RunId, task: TaskId) -> String {
        format!("{}:{LAYOUT}:{{{run}}}:task:{task}", self.namespace)
    }

    /// A string: a part of a long record or outcome of a task, compressed. It begins with the task's key.
    pub(super) fn long_part(&self, run: &RunId, task: TaskId, name: &str, part: usize) -> String {
        format!("{}:long:{name}:{part}", self.task(run, task))
    }

    /// A string: the coordinator that holds the run's lease.
    pub(super) fn leader(&self, run: &RunId) -> String {
        self.run_key(run, "leader")
    }

    /// A hash: each worker's last heartbeat, by its id.
    pub(super) fn workers(&self, run: &RunId) -> String {
        self.run_key(run, "workers")
    }

    /// A string: exists while the run is cancelled.
    pub(super) fn cancelled(&self, run: &RunId) -> String {
        self.run_key(run, "cancelled")
    }

    /// A string: the run's last manifest.
    pub(super) fn report(&self, run: &RunId) -> String {
        self.run_key(run, "report")
    }

    /// A string: the number of parts of a training file, set when all of them are stored.
    pub(super) fn file(&self, run: &RunId, sha256: &str) -> String {
        self.run_key(run, &format!("file:{sha256}"))
    }

    /// A string: a part of a training file, compressed.
    pub(super) fn file_part(&self, run: &RunId, sha256: &str, part: u64) -> String {
        self.run_key(run, &format!("file:{sha256}:{part}"))
    }

    /// A hash: what the workers share of an account. Keys of accounts belong to no run.
    pub(super) fn account(&self, key: &SharedKey) -> String {
        format!("{}:{LAYOUT}:{{account:{}}}", self.namespace, key.account)
    }

    /// A hash: the same of one model at one address of the account.
    pub(super) fn account_gate(&self, key: &SharedKey) -> String {
        format!("{}:{}", self.account(key), key.gate)
    }

    /// A hash: the processes that have requests of the account in flight.
    pub(super) fn account_members(&self, key: &SharedKey) -> String {
        format!("{}:members", self.account(key))
    }

    /// A hash whose fields are the runs of the namespace; the values are unused. It belongs to no run.
    pub(super) fn runs(&self) -> String {
        format!("{}:{LAYOUT}:runs", self.namespace)
    }

    /// Keys that the permission check creates and deletes.
    pub(super) fn probe(&self) -> [String; 4] {
        let run = RunId("probe".to_owned());
        ["hash", "stream", "set", "string"].map(|kind| self.run_key(&run, &format!("probe:{kind}")))
    }

    fn run_key(&self, run: &RunId, what: &str) -> String {
        format!("{}:{LAYOUT}:{{{run}}}:{what}", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_rejects_braces_and_empty_namespaces() {
        for name in ["bsft", "team-a:bsft_2.0"] {
            assert!(Keys::new(name).is_some(), "{name}");
        }
        for name in ["", "{a}", "a b", "ä", "a*"] {
            assert!(Keys::new(name).is_none(), "{name}");
        }
    }

    #[test]
    fn every_key_of_a_run_has_its_id_as_hash_tag() {
        let keys = Keys::new("ns").unwrap();
        let run = RunId("r7".into());
        let task = keys.task(&run, TaskId([1; 16]));
        for key in [
            keys.job(&run),
            keys.outcomes(&run),
            keys.position(&run),
            keys.done(&run, TaskId([7; 16])),
            keys.leader(&run),
            keys.workers(&run),
            keys.cancelled(&run),
            keys.report(&run),
            keys.file(&run, "00ff"),
            keys.file_part(&run, "00ff", 3),
            keys.long_part(&run, TaskId([1; 16]), "1-o", 2),
            task,
        ] {
            assert!(key.starts_with("ns:v1:{r7}:"), "{key}");
        }
    }
}
