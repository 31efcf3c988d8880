//! The permissions that the store's users need on the server: one list for error messages, operators and
//! tests.

/// The permissions of a process that is coordinator and worker, as Redis ACL rules. Without `info` the store works but cannot warn
/// about a server that loses outcomes. A URL with a database number requires `+select` as well.
pub const RIGHTS: &str = "~NAMESPACE:* +del +eval +evalsha +expire +get +hdel +hexists +hget +hgetall +hkeys +hmget +hset +hsetnx \
                          +info +pttl +sadd +set +sismember +srem +time +ttl +xadd +xdel +xrange";

/// The permissions of a coordinator: it cannot add outcomes.
pub const COORDINATOR_RIGHTS: &str = "~NAMESPACE:* +del +eval +evalsha +expire +get +hdel +hexists +hget +hgetall +hkeys +hmget \
                                      +hset +hsetnx +info +pttl +sadd +set +sismember +srem +time +xdel +xrange";

/// The permissions of a worker: it reads jobs, cancellations and training files, and cannot write them.
pub const WORKER_RIGHTS: &str = "%R~NAMESPACE:v1:{*}:job %R~NAMESPACE:v1:{*}:cancelled %R~NAMESPACE:v1:{*}:file:* \
                                 ~NAMESPACE:v1:{*}:task:* ~NAMESPACE:v1:{*}:done:* ~NAMESPACE:v1:{*}:outcomes \
                                 ~NAMESPACE:v1:{*}:position ~NAMESPACE:v1:{*}:workers ~NAMESPACE:v1:{account:* \
                                 +eval +evalsha +expire +get +hdel +hgetall +hmget +hset +info +set +sismember +time +ttl +xadd";

/// The additional permission of a user that forgets runs.
pub const FORGET_RIGHTS: &str = "+scan";

/// Additional permissions on each node of a cluster.
pub const CLUSTER_RIGHTS: &str = "+asking +cluster|slots +ping";

/// What a process does on the server, which decides the permissions that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreUser {
    /// It plans runs and collects outcomes.
    Coordinator,
    /// It executes tasks.
    Worker,
    /// Both in one process.
    Both,
}

impl StoreUser {
    /// Its minimal permissions, with `NAMESPACE` for the namespace.
    pub fn rights(self) -> &'static str {
        match self {
            StoreUser::Coordinator => COORDINATOR_RIGHTS,
            StoreUser::Worker => WORKER_RIGHTS,
            StoreUser::Both => RIGHTS,
        }
    }

    /// Its name in `probe.lua`.
    pub(super) fn name(self) -> &'static str {
        match self {
            StoreUser::Coordinator => "coordinator",
            StoreUser::Worker => "worker",
            StoreUser::Both => "both",
        }
    }

    /// The permissions with the keys of this namespace, ready to be granted.
    pub(super) fn needed(self, namespace: &str) -> String {
        let rights = self.rights().replace("NAMESPACE", namespace);
        format!("{rights}, and on a cluster {CLUSTER_RIGHTS}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis");

    fn listed(rights: &str) -> BTreeSet<String> {
        let commands = rights.split(' ').filter_map(|right| right.strip_prefix('+'));
        commands.map(str::to_owned).collect()
    }

    /// The text between each marker and the next quotation mark, in all files of a folder.
    fn commands(folder: &Path, markers: &[&str]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            if file.is_dir() || file.ends_with("rights.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).unwrap();
            for marker in markers {
                let named = text
                    .split(marker)
                    .skip(1)
                    .filter_map(|rest| rest.split(['\'', '"']).next());
                found.extend(named.map(str::to_lowercase));
            }
        }
        found
    }

    #[test]
    fn rights_list_every_command_and_the_probe_tries_each() {
        let here = Path::new(HERE);
        let mut used = commands(&here.join("lua"), &["redis.call('", "try('"]);
        used.extend(commands(here, &["redis::cmd(\"", "self.command(\""]));
        let of_clusters = listed(CLUSTER_RIGHTS);
        let of_all: BTreeSet<String> = used.difference(&of_clusters).cloned().collect();
        let of_forget = listed(FORGET_RIGHTS);
        assert_eq!(of_all, &listed(RIGHTS) | &of_forget);

        let probe = include_str!("lua/probe.lua").to_lowercase();
        for command in &commands(&here.join("lua"), &["redis.call('"]) - &of_forget {
            assert!(
                probe.contains(&format!("try('{command}'")),
                "probe.lua does not try {command}"
            );
        }
    }

    #[test]
    fn operations_docs_list_the_same_rights() {
        let notes = include_str!("../../../docs/operations/servers.md");
        let words = notes.split_whitespace().filter(|word| *word != "\\");
        let notes = words
            .map(|word| word.trim_matches('\''))
            .collect::<Vec<_>>()
            .join(" ");
        for rights in [COORDINATOR_RIGHTS, WORKER_RIGHTS] {
            let rights = rights.replace("NAMESPACE", "bsft:default");
            assert!(notes.contains(&rights), "{rights}");
        }
        assert!(notes.contains(CLUSTER_RIGHTS), "{CLUSTER_RIGHTS}");
    }

    #[test]
    fn both_users_together_have_the_rights_of_one_process() {
        let both = &listed(COORDINATOR_RIGHTS) | &listed(WORKER_RIGHTS);
        assert_eq!(both, listed(RIGHTS));
        // What makes outcomes is the worker's alone, and what removes them the coordinator's.
        let of_workers = &both - &listed(COORDINATOR_RIGHTS);
        assert_eq!(of_workers, listed("+ttl +xadd"));
        assert!(!listed(WORKER_RIGHTS).contains("del") && !listed(WORKER_RIGHTS).contains("xdel"));
    }
}
