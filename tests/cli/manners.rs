//! How the command behaves in a pipeline: a reader that goes away, a full disk, quiet, verbose, and colors.

use crate::support::{Ended, Folder, JobFile, Running};
use std::fs::File;
use std::process::{Command, Stdio};

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// The commands that print a result, each with the arguments of a run that is there.
const PRINTING: [&[&str]; 8] = [
    &["status", "run"],
    &["status", "run", "--json"],
    &["plan", "job.toml"],
    &["plan", "job.toml", "--json"],
    &["check", "job.toml"],
    &["init", "example"],
    &["--help"],
    &["--version"],
];

/// Whether the text contains an escape sequence.
fn is_colored(text: &str) -> bool {
    text.contains('\u{1b}')
}

/// A folder with a job on the simulated LM and its compiled run.
fn compiled() -> Folder {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
    folder.compile("run").with(0);
    folder
}

/// The write end of a pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// A file on a full disk.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// Runs a command with the given stdout; its exit code and its stderr.
fn with_stdout(mut command: Command, stdout: Stdio) -> (Option<i32>, String) {
    let output = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Runs a command with the given stderr; its exit code.
fn with_stderr(mut command: Command, stderr: Stdio) -> Option<i32> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
    status.status().unwrap().code()
}

/// Runs a command with these variables in its environment.
fn run_with(folder: &Folder, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = folder.command(arguments);
    command.env_remove("BSFT_LOG_FORMAT");
    command.envs(variables.iter().copied());
    Running::start(command).end()
}

#[test]
fn closed_stdout_is_no_error() {
    let folder = compiled();
    for arguments in PRINTING {
        let (code, stderr) = with_stdout(folder.command(arguments), closed());
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("stdout"), "{arguments:?}: {stderr}");
    }
}

#[test]
fn full_stdout_is_one_error_line_and_exit_code_1() {
    let folder = compiled();
    for arguments in PRINTING {
        let (code, stderr) = with_stdout(folder.command(arguments), full());
        assert_eq!(code, Some(1), "{arguments:?}: {stderr}");
        let errors: Vec<&str> = stderr.lines().filter(|line| line.contains("error")).collect();
        assert!(
            errors.len() == 1 && errors[0].starts_with("error: cannot write to stdout: "),
            "{arguments:?}: {stderr}"
        );
    }
}

#[test]
fn full_stdout_keeps_the_exit_code_of_a_command_that_failed() {
    let folder = Folder::new();
    let (code, stderr) = with_stdout(folder.command(&["status", "nowhere"]), full());
    assert_eq!(code, Some(2), "{stderr}");
}

#[test]
fn closed_or_full_stderr_changes_nothing() {
    let folder = compiled();
    for arguments in [
        &["compile", "job.toml", "--out", "again", "-vv"][..],
        &["status", "run"],
        &["--help"],
    ] {
        assert_eq!(
            with_stderr(folder.command(arguments), full()),
            Some(0),
            "{arguments:?}"
        );
        assert_eq!(
            with_stderr(folder.command(arguments), closed()),
            Some(0),
            "{arguments:?}"
        );
    }
    for (arguments, code) in [(&["frobnicate"][..], 2), (&["check", "nowhere.toml"], 2)] {
        assert_eq!(with_stderr(folder.command(arguments), full()), Some(code));
        assert_eq!(with_stderr(folder.command(arguments), closed()), Some(code));
    }
    assert!(folder.path("again/compiled.json").exists());
}

#[test]
fn quiet_compile_prints_nothing_and_quiet_status_prints_its_result() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
    let ended = run_with(&folder, &[&["-q"], &COMPILE[..]].concat(), &[]).with(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    let ended = run_with(&folder, &["status", "run", "--quiet"], &[]).with(0);
    assert!(ended.stdout.contains("12 of 12"), "{}", ended.stdout);
    run_with(&folder, &["status", "nowhere", "-q"], &[])
        .with(2)
        .saying("nowhere");
    let ended = run_with(&folder, &["-q", "-v", "status"], &[]).with(2);
    assert!(ended.stderr.contains("--quiet"), "{}", ended.stderr);
}

#[test]
fn verbose_logs_debug_and_trace_lines_unless_bsft_log_is_set() {
    for (flags, variable, levels) in [
        (&[][..], "", [false, false]),
        (&["-v"], "", [true, false]),
        (&["-vv"], "", [true, true]),
        (&["-vv"], "info", [false, false]),
        (&["-q"], "bsft=debug", [true, false]),
    ] {
        // The end of each task is a line at debug, each of its steps at trace.
        let folder = Folder::new();
        JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
        let arguments = [flags, &COMPILE[..]].concat();
        let ended = run_with(&folder, &arguments, &[("BSFT_LOG", variable)]).with(0);
        let found = [" DEBUG ", " TRACE "].map(|level| ended.stderr.contains(level));
        assert_eq!(found, levels, "{flags:?} BSFT_LOG={variable}:\n{}", ended.stderr);
    }
}

#[test]
fn log_format_is_human_in_a_pipe_and_json_where_asked_for() {
    for (flags, variables, is_json) in [
        (&[][..], &[][..], false),
        (&["--log-format", "json"], &[], true),
        (&[], &[("BSFT_LOG_FORMAT", "json")], true),
        (&["--log-format", "human"], &[("BSFT_LOG_FORMAT", "json")], false),
    ] {
        let folder = Folder::new();
        JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
        let ended = run_with(&folder, &[flags, &COMPILE[..]].concat(), variables).with(0);
        assert!(!is_colored(&ended.stderr), "{}", ended.stderr);
        for line in ended.stderr.lines() {
            assert_eq!(line.starts_with('{'), is_json, "{flags:?} {variables:?}: {line}");
        }
    }
}

#[test]
fn color_flag_beats_no_color_which_beats_clicolor_force() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let force = ("CLICOLOR_FORCE", "1");
    for (flag, variables, colored) in [
        ("auto", &[][..], false),
        ("always", &[], true),
        ("auto", &[force], true),
        ("never", &[force], false),
        ("auto", &[force, ("NO_COLOR", "1")], false),
        ("auto", &[force, ("NO_COLOR", "")], true),
        ("always", &[("NO_COLOR", "1"), ("TERM", "dumb")], true),
    ] {
        // A usage error of clap, an error of a command, help, and log lines.
        for (arguments, code) in [
            (&["frobnicate"][..], 2),
            (&["status", "nowhere"], 2),
            (&["compile", "--help"], 0),
            (&COMPILE, 0),
        ] {
            let arguments = [&["--color", flag], arguments].concat();
            let ended = run_with(&folder, &arguments, variables).with(code);
            let text = ended.stdout + &ended.stderr;
            assert_eq!(is_colored(&text), colored, "{arguments:?} {variables:?}: {text}");
        }
    }
}

#[test]
fn color_is_off_and_nothing_is_redrawn_with_term_dumb() {
    for (term, is_live) in [("xterm", true), ("dumb", false)] {
        let folder = Folder::new();
        JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
        let mut command = folder.command(&COMPILE);
        command.env("TERM", term);
        let ended = on_a_terminal(&command);
        let text = ended.with(0).stdout;
        assert!(text.contains("compiled tested"), "{text}");
        assert_eq!(is_colored(&text), is_live, "TERM={term}: {text:?}");
    }
}

#[test]
fn control_characters_of_a_job_file_do_not_reach_the_terminal() {
    let folder = Folder::new();
    let hostile = r"\u001b]0;title\u0007\u009b2J\u202e";
    let mut job = JobFile::with_teacher(&format!("model = \"{hostile}\"\n\"{hostile}\" = 1"));
    job.data = format!("\"{hostile}\" = 2");
    job.write(&folder, 12);
    let mut commands = vec![folder.command(&["check", "job.toml"])];
    commands.push(folder.command(&COMPILE));
    for command in commands {
        let shown = on_a_terminal(&command).with(2).stdout;
        assert!(shown.contains(hostile), "{shown:?}");
        let controls = ["\u{1b}]", "\u{7}", "\u{9b}", "\u{202e}"];
        assert!(
            !controls.iter().any(|control| shown.contains(control)),
            "{shown:?}"
        );
    }
}

/// Runs the command with a terminal in place of stdout and stderr; what it printed is the returned stdout.
fn on_a_terminal(command: &Command) -> Ended {
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap());
    let line = std::iter::once(command.get_program()).chain(command.get_args());
    let line = line.map(quote).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.current_dir(command.get_current_dir().unwrap());
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    script.env_clear().envs(variables);
    Running::start(script).end()
}
