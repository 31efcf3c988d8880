//! A disk that is full or forbids writing: the run stops with the remedy, and the same command goes on without asking anything again.

use crate::support::{Ended, Folder, JobFile, LmServer, Running, same};
use rustix::process::geteuid;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

const EXAMPLES: usize = 150;

/// Characters of each question, so that a run writes megabytes.
const LENGTH: usize = 20_000;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

fn job(server: &LmServer) -> Folder {
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, 0);
    let mut rows = String::new();
    for example in 0..EXAMPLES {
        let padding = "x".repeat(LENGTH);
        // Writing to a String cannot fail.
        let _ = writeln!(
            rows,
            r#"{{"question": "Question {example}, gold=blue {padding}", "answer": "blue"}}"#
        );
    }
    folder.write("train.jsonl", rows);
    folder
}

/// Runs a compile as the last command of this shell script, which names it `"$0" "$@"`.
fn in_shell(folder: &Folder, script: &str) -> Ended {
    let bsft = folder.command(&COMPILE);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(script)
        .arg(bsft.get_program())
        .args(bsft.get_args());
    shell.current_dir(folder.path(""));
    let variables = bsft.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.env_clear().envs(variables);
    Running::start(shell).end()
}

/// Asserts that the run stopped with these words about a file, and with the command that resumes it.
#[track_caller]
fn assert_resumable(ended: Ended, words: &str) {
    let ended = ended.with(1);
    let (_, last) = ended.stderr.rsplit_once("error: ").unwrap_or_default();
    assert!(last.contains(words), "{words:?} is not in:\n{}", ended.stderr);
    assert!(last.contains("nothing is lost"), "{}", ended.stderr);
    assert!(last.contains("bsft compile job.toml --out "), "{}", ended.stderr);
}

#[test]
fn run_stops_at_the_largest_file_allowed_and_the_same_command_goes_on() {
    let server = LmServer::start("clean");
    let (folder, reference) = (job(&server), job(&server));
    reference.compile("run").with(0);
    server.reset();
    // In units of 512 bytes. The first limit is below what the store needs at its start.
    for limit in [100, 6000] {
        let script = format!("trap '' XFSZ; ulimit -f {limit} && exec \"$0\" \"$@\"");
        assert_resumable(
            in_shell(&folder, &script),
            "File too large (os error 27); allow larger files",
        );
    }
    folder.compile("run").with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    same(&folder.result("run"), &reference.result("run"));
}

/// Whether this machine lets a test mount a file system of its own.
fn may_mount() -> bool {
    let mounted = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    let may = mounted.is_ok_and(|output| output.status.success());
    if !may {
        #[expect(clippy::print_stderr, reason = "a test that does nothing has to say so")]
        {
            eprintln!("SKIPPED: no file system can be mounted here");
        }
    }
    may
}

#[test]
fn full_or_read_only_file_system_stops_the_run_with_its_remedy() {
    if !may_mount() {
        return;
    }
    let server = LmServer::start("clean");
    let folder = job(&server);
    fs::create_dir(folder.path("run")).unwrap();
    for (options, words) in [
        (
            "size=4m",
            "No space left on device (os error 28); make room on the disk",
        ),
        (
            "ro",
            "Read-only file system (os error 30); make the file system writable",
        ),
    ] {
        let mount = format!("mount -t tmpfs -o {options} tmpfs run && exec \"$0\" \"$@\"");
        let script = format!("exec unshare --mount sh -c '{mount}' \"$0\" \"$@\"");
        assert_resumable(in_shell(&folder, &script), words);
    }
}

#[test]
fn forbidden_folder_and_long_name_are_named_with_their_remedy() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let run = folder.path("run");
    fs::create_dir(&run).unwrap();
    fs::set_permissions(&run, Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere, unless it is without its capabilities.
    let script = if geteuid().is_root() {
        "exec setpriv --inh-caps=-all --bounding-set=-all \"$0\" \"$@\""
    } else {
        "exec \"$0\" \"$@\""
    };
    let forbidden = "run: Permission denied (os error 13); give this user the permission";
    assert_resumable(in_shell(&folder, script), forbidden);
    fs::set_permissions(&run, Permissions::from_mode(0o755)).unwrap();
    folder.compile("run").with(0);

    let name = "x".repeat(256);
    let ended = folder.compile(&name);
    assert_resumable(
        ended,
        &format!("{name}: File name too long (os error 36); choose a shorter name"),
    );
}

#[test]
fn too_few_open_files_for_dir_are_named_with_their_remedy() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let mut ends = Vec::new();
    for limit in 4..40 {
        let ended = in_shell(&folder, &format!("ulimit -n {limit} && exec \"$0\" \"$@\""));
        if ended.code != Some(0) {
            assert!(ended.stderr.contains("ulimit -n"), "{limit}: {}", ended.stderr);
        }
        ends.push(ended.code);
    }
    assert_eq!((ends[0], ends.last()), (Some(1), Some(&Some(0))), "{ends:?}");
}
