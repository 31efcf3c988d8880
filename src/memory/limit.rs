//! What the process may use of the machine's memory: the limits of its control groups, and the memory itself.

use std::fs;
use std::path::{Path, PathBuf};

/// The least of the limits in bytes; `None` if none is known.
pub(super) fn memory_limit() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let files = groups
        .lines()
        .flat_map(|group| limit_files(group, Path::new("/sys/fs/cgroup")));
    let limits = files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    let machine = fs::read_to_string("/proc/meminfo").ok();
    limits.chain(machine.and_then(|info| total(&info))).min()
}

/// Where a group and the groups around it have their limits. `group` is a line of `/proc/self/cgroup`. Within a container the group's path
/// may be that of the machine, and its files are at the root.
fn limit_files(group: &str, root: &Path) -> Vec<PathBuf> {
    let mut parts = group.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (root, name) = match controllers {
        "" => (root.to_owned(), "memory.max"),
        controllers if controllers.split(',').any(|controller| controller == "memory") => {
            (root.join("memory"), "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors()
        .map(|group| root.join(group).join(name))
        .collect()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(info: &str) -> Option<usize> {
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_files_are_those_of_the_group_and_the_groups_around_it() {
        let files = |group| limit_files(group, Path::new("/r"));
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(
            files("0::/a/b"),
            paths(&["/r/a/b/memory.max", "/r/a/memory.max", "/r/memory.max"])
        );
        assert_eq!(files("0::/"), paths(&["/r/memory.max"]));
        assert_eq!(
            files("4:cpu,memory:/x"),
            paths(&[
                "/r/memory/x/memory.limit_in_bytes",
                "/r/memory/memory.limit_in_bytes"
            ])
        );
        assert_eq!(files("5:cpuset:/x"), paths(&[]));
        assert_eq!(files("nonsense"), paths(&[]));
    }

    #[test]
    fn total_is_that_of_the_machine() {
        let info = "MemTotal:       24731708 kB\nMemFree:        21490624 kB\n";
        assert_eq!(total(info), Some(24_731_708 << 10));
        assert_eq!(total("MemFree: 1 kB"), None);
        assert!(memory_limit().is_some_and(|limit| limit > 16 << 20));
    }
}
