//! Errors of the operating system, in words that name the remedy.

use crate::error_causes::os_error;
use rustix::io::Errno;
use std::io;

/// The error, followed by what to do about it: `No space left on device (os error 28); make room on the disk`.
pub(crate) fn explained(error: &io::Error) -> String {
    match remedy(error) {
        Some(remedy) => format!("{error}; {remedy}"),
        None => error.to_string(),
    }
}

/// What to do about the error. `None` if that depends on what failed.
pub(crate) fn remedy(error: &io::Error) -> Option<&'static str> {
    let errno = os_error(error).and_then(Errno::from_io_error)?;
    REMEDIES
        .iter()
        .find(|(of, _)| *of == errno)
        .map(|(_, remedy)| *remedy)
}

/// Whether the process, or the whole machine, has as many open files as it may have.
pub(crate) fn lacks_open_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// What to do about a lack of open files; `None` if the error is another one.
pub(crate) fn remedy_of_lack(error: &io::Error) -> Option<&'static str> {
    remedy(error).filter(|_| lacks_open_files(error))
}

/// What to do about each error that a full, broken or forbidden place leads to.
const REMEDIES: [(Errno, &str); 11] = [
    (Errno::NOSPC, "make room on the disk"),
    (Errno::DQUOT, "make room within your quota of the disk"),
    (
        Errno::FBIG,
        "allow larger files, with `ulimit -f` or on another file system",
    ),
    (
        Errno::ROFS,
        "make the file system writable, or choose a directory on another one",
    ),
    (
        Errno::ACCESS,
        "give this user the permission, or choose a directory that is the user's own",
    ),
    (
        Errno::PERM,
        "give this user the permission, or choose a directory that is the user's own",
    ),
    (
        Errno::MFILE,
        "allow more open files with `ulimit -n`, or lower --concurrency",
    ),
    (
        Errno::NFILE,
        "close other programs: the whole machine has as many open files as it may have",
    ),
    (
        Errno::IO,
        "check the disk: the system's log (dmesg) has the cause",
    ),
    (Errno::NAMETOOLONG, "choose a shorter name"),
    (Errno::STALE, "mount the network file system again"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explained_names_the_remedy_of_a_full_or_forbidden_place() {
        for (errno, words) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::ROFS, "writable"),
            (Errno::ACCESS, "permission"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::IO, "dmesg"),
        ] {
            let error = io::Error::from(errno);
            let explained = explained(&io::Error::other(error));
            assert!(explained.contains(words), "{explained}");
        }
        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(explained(&error), error.to_string());
    }

    #[test]
    fn lacks_open_files_is_about_the_process_and_the_machine() {
        for (errno, lacks) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOSPC, false),
            (Errno::CONNREFUSED, false),
        ] {
            assert_eq!(lacks_open_files(&io::Error::from(errno)), lacks, "{errno}");
        }
    }
}
