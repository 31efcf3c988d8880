//! A run that is killed or interrupted resumes where it stopped, and ends with the same bytes.

use crate::support::{Ended, Folder, JobFile, LmServer, Running, lines, same, until};

const EXAMPLES: usize = 500;

/// Examples in flight at once.
const IN_FLIGHT: usize = 64;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// The result of an undisturbed run. The log of the LM server is empty afterwards.
fn undisturbed(server: &LmServer) -> Folder {
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    server.reset();
    folder
}

/// Starts it and waits until this many traces are in DIR. The LM server has to hold some answers back, or else the run may have ended
/// before this process looks.
fn run_until(folder: &Folder, traces: usize) -> Running {
    let mut running = folder.start(&COMPILE);
    until("traces", || {
        assert!(!running.has_ended(), "it ended before it had {traces} traces");
        (folder.traced("run") >= traces).then_some(())
    });
    running
}

fn kill(mut running: Running) -> Ended {
    running.kill();
    running.end()
}

#[test]
fn compile_killed_twice_has_the_same_bytes_and_repeats_no_recorded_call() {
    let server = LmServer::start("mild");
    let reference = undisturbed(&server);
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    // However late it is killed, it has not ended.
    server.hold_from(EXAMPLES - 1);
    for traces in [EXAMPLES / 4, EXAMPLES * 6 / 10] {
        assert_eq!(kill(run_until(&folder, traces)).code, None);
    }
    server.release();
    folder.compile("run").with(0);
    same(&folder.result("run"), &reference.result("run"));
    let count = server.count();
    assert!(count.repeated <= 2 * IN_FLIGHT, "{count:?}");
    assert!(count.most_asked <= 3, "{count:?}");
}

#[test]
fn killed_compile_on_a_failing_lm_loses_no_example() {
    let server = LmServer::start_on(0, &["--profile", "mild", "--fail-first", "0.2"]);
    let reference = undisturbed(&server);
    assert_eq!(reference.read("run/failures.jsonl"), "");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    server.hold_from(EXAMPLES - 1);
    kill(run_until(&folder, EXAMPLES / 2));
    server.release();
    folder.compile("run").with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_eq!(lines(&folder.read("run/traces.jsonl")).len(), EXAMPLES);
}

#[test]
fn compile_makes_every_lm_call_once() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, 100);
    folder.compile("run").with(0);
    let count = server.count();
    assert_eq!((count.repeated, count.most_asked), (0, 1), "{count:?}");
    // And a second run of what is done asks nothing at all.
    folder.compile("run").with(0);
    assert_eq!(server.count(), count);
}

#[test]
fn sigint_and_sigterm_end_with_code_3_and_print_the_resume_command() {
    for signal in ["INT", "TERM"] {
        let server = LmServer::start("mild");
        let reference = undisturbed(&server);
        let folder = Folder::new();
        JobFile::at(&server.base()).write(&folder, EXAMPLES);
        server.hold_from(EXAMPLES / 2);
        let running = run_until(&folder, EXAMPLES / 4);
        running.signal(signal);
        running.until_draining();
        server.release();
        let ended = running.end().with(3);
        assert!(
            folder.traced("run") < EXAMPLES,
            "it was not interrupted in the middle"
        );
        let again = ended
            .stderr
            .lines()
            .find_map(|line| line.trim().strip_prefix("bsft "))
            .unwrap_or_else(|| panic!("no command in:\n{}", ended.stderr));
        assert_eq!(again.split(' ').collect::<Vec<_>>(), COMPILE);
        folder.run(&again.split(' ').collect::<Vec<_>>()).with(0);
        same(&folder.result("run"), &reference.result("run"));
        // What was in flight was finished: nothing was asked twice.
        assert_eq!(server.count().repeated, 0, "{signal}");
    }
}

#[test]
fn cancel_ends_compile_with_code_3_and_the_next_compile_resumes() {
    let server = LmServer::start("mild");
    let reference = undisturbed(&server);
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let running = run_until(&folder, 1);
    let cancel = folder.start(&["cancel", "run"]);
    running.until_draining();
    server.release();
    cancel.end().with(0);
    running
        .end()
        .with(3)
        .saying("cancelled; nothing is lost")
        .saying("compile job.toml --out run");
    assert!(
        folder.traced("run") < EXAMPLES,
        "it was not cancelled in the middle"
    );
    folder
        .run(&["cancel", "run"])
        .with(1)
        .saying("no process is working on this run");
    folder.run(&["cancel", "nowhere"]).with(2).saying("nowhere");
    folder.compile("run").with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0);
}

#[test]
fn second_compile_of_a_live_run_is_refused() {
    let server = LmServer::start("mild");
    server.hold_from(EXAMPLES / 2);
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    let running = run_until(&folder, 1);
    let second = folder.compile("run");
    assert_ne!(second.code, Some(0));
    let second = second.saying("in use");
    assert!(second.stderr.contains("run"), "{}", second.stderr);
    running.signal("INT");
    running.until_draining();
    server.release();
    running.end().with(3);
}
