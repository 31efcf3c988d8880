//! The limit of open files of this process: raised at the start, and compared with what the LM calls in flight need.
//!
//! Each LM call in flight has a connection, which counts as an open file. Files of DIR and connections to the services come first: without
//! them the process has to stop, while an LM call can wait.

use crate::error_causes::{causes, os_error};
use crate::system_error::lacks_open_files;
use std::error::Error;
use std::fs::File;
use std::io;

/// The limit to which the soft limit is raised at most. Some programs close every file number up to their limit when they start, and
/// trainers inherit it.
const MOST: u64 = 1 << 20;

/// Open files of a process without LM calls: files of DIR, connections to the services, those of the runtime.
const OTHERS: u64 = 40;

/// Open files of a process at its start, where the system does not list them: stdin, stdout and stderr.
const STANDARD: u64 = 3;

/// One file more is allowed for this many connections: a host name is looked up through files and connections.
const CALLS_PER_SPARE: u64 = 4;

/// The most such files. Look-ups end soon.
const MOST_SPARE: u64 = 128;

/// Raises the soft limit to the hard one, up to [`MOST`]. Returns the limit that then applies; `None` if the system reports none.
pub(crate) fn raise_limit() -> Option<u64> {
    match rlimit::increase_nofile_limit(MOST) {
        Ok(limit) => Some(limit),
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays");
            rlimit::getrlimit(rlimit::Resource::NOFILE)
                .ok()
                .map(|(soft, _)| soft)
        }
    }
}

/// The files that are open now. A process inherits those of its parent.
pub(crate) fn open_now() -> u64 {
    // The folder itself is open, too, while it is read.
    let listed = std::fs::read_dir("/dev/fd").map(|entries| entries.count() as u64);
    listed.map_or(STANDARD, |all| all.saturating_sub(1))
}

/// The open files that so many connections to LM servers need, about, and with them the rest of the process.
pub(crate) fn needed(connections: u64) -> u64 {
    let spare = (connections / CALLS_PER_SPARE).min(MOST_SPARE);
    OTHERS.saturating_add(connections).saturating_add(spare)
}

/// The most connections to LM servers for which so many open files suffice, at least 1.
pub(crate) fn connections_within(files: u64) -> u64 {
    let left = files.saturating_sub(OTHERS);
    let with_most_spare = left.saturating_sub(MOST_SPARE);
    let with_some = left.saturating_mul(CALLS_PER_SPARE) / (CALLS_PER_SPARE + 1);
    with_most_spare.max(with_some).max(1)
}

/// The lack of open files for which a connection failed; `None` if it failed for another reason.
///
/// A name that cannot be looked up for that lack is reported as unknown. So the process tries to open a file.
pub(crate) fn lack_behind(failure: &(dyn Error + 'static)) -> Option<io::Error> {
    let of_system = causes(failure).find_map(|cause| {
        let error = cause.downcast_ref::<io::Error>()?;
        error.raw_os_error().filter(|_| lacks_open_files(error))
    });
    match of_system {
        Some(code) => Some(io::Error::from_raw_os_error(code)),
        None if os_error(failure).is_some() => None,
        None => File::open("/dev/null").err().filter(lacks_open_files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_within_the_limit_need_no_more_than_it() {
        for files in (0..5000).chain([65_536, 1 << 20, u64::from(u32::MAX)]) {
            let connections = connections_within(files);
            assert!(connections == 1 || needed(connections) <= files, "{files}");
            // And two more would not fit.
            assert!(needed(connections + 2) > files, "{files}: {connections}");
        }
        assert!(connections_within(u64::MAX) > u64::MAX / 2);
    }

    #[test]
    fn open_now_counts_an_open_file() {
        let before = open_now();
        let files: Vec<File> = (0..50).flat_map(|_| File::open("/dev/null")).collect();
        // Other tests of the process open and close files, too.
        assert!(open_now() >= before + files.len() as u64 - 20);
    }

    #[test]
    fn lack_of_open_files_is_found_behind_other_errors() {
        let lack = io::Error::from(rustix::io::Errno::MFILE);
        let wrapped = io::Error::other(io::Error::other(lack));
        assert!(lack_behind(&wrapped).is_some_and(|error| lacks_open_files(&error)));
        let refused = io::Error::from(rustix::io::Errno::CONNREFUSED);
        assert!(lack_behind(&io::Error::other(refused)).is_none());
        assert!(lack_behind(&io::Error::other("no such name")).is_none());
    }
}
