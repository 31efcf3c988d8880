//! What the store's user on the server has to be allowed: the one list, for error messages, operators and tests.

/// The rights of a user that nobody could do without, as rules of a Redis ACL. Without `info` the store works, but cannot warn of a
/// server that loses outcomes; a URL with a database number takes `+select`, too.
pub const RIGHTS: &str = "~NAMESPACE:* +del +eval +evalsha +expire +get +hdel +hexists +hget +hgetall +hkeys +hmget +hset +hsetnx \
                          +info +pttl +sadd +set +sismember +srem +time +ttl +xadd +xdel +xrange";

/// What a cluster takes beside [`RIGHTS`], on each of its nodes.
pub const CLUSTER_RIGHTS: &str = "+asking +cluster|slots +ping";

/// The rights, for people: with the keys of this namespace, so that they can be given as they stand.
pub(super) fn needed(namespace: &str) -> String {
    let rights = RIGHTS.replace("NAMESPACE", namespace);
    format!("{rights}, and on a cluster {CLUSTER_RIGHTS}")
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

    /// What follows one of the markers and ends at its quotation mark, in all files of a folder.
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
    fn every_command_is_a_right_and_every_right_is_tried_at_the_start() {
        let here = Path::new(HERE);
        let mut used = commands(&here.join("lua"), &["redis.call('", "try('"]);
        used.extend(commands(here, &["redis::cmd(\"", "self.command(\""]));
        let of_clusters = listed(CLUSTER_RIGHTS);
        let of_all: BTreeSet<String> = used.difference(&of_clusters).cloned().collect();
        assert_eq!(of_all, listed(RIGHTS));

        let probe = include_str!("lua/probe.lua").to_lowercase();
        for command in commands(&here.join("lua"), &["redis.call('"]) {
            assert!(
                probe.contains(&format!("try('{command}'")),
                "probe.lua does not try {command}"
            );
        }
    }

    #[test]
    fn the_operators_notes_have_the_same_rights() {
        let notes = include_str!("../../../docs/operations/servers.md");
        let words = notes.split_whitespace().filter(|word| *word != "\\");
        let notes = words.collect::<Vec<_>>().join(" ");
        let (_keys, commands) = RIGHTS.split_once(' ').unwrap();
        assert!(notes.contains(commands), "{commands}");
        assert!(notes.contains(CLUSTER_RIGHTS), "{CLUSTER_RIGHTS}");
    }
}
