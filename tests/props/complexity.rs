//! Every reader takes time in proportion to the length of its input. A reader that looks ahead from each token to the end of the text needs
//! minutes for an answer of a model that repeats one token.

use crate::targets::{TARGETS, Target};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Bytes of the short input: readers that nest have reached their limit in it.
const SHORT: usize = 8 << 10;

/// The length of the long input in relation to the short one.
const LONGER: usize = 16;

/// The most that the time may grow. Linear: 16 times; quadratic: 256 times.
const MOST: u32 = 64;

/// Times below this are not compared: a quadratic reader of the long input takes longer.
const NEGLIGIBLE: Duration = Duration::from_millis(50);

/// What models repeat, and what makes readers look ahead.
const PATTERNS: [&str; 58] = [
    "x",
    " ",
    "\n",
    "\t",
    "-",
    "9",
    "1.",
    "_",
    "é",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "{}",
    "[]",
    "{[",
    "({",
    "[\"",
    "{\"a\":",
    "{\"a\":1}",
    "{\"a\":\"b\",",
    "\"a\" \"b\",",
    "\"a\":\"b\" \"c\"",
    "{\"a\":\"x\" \"y\":",
    "[1,",
    ",",
    ":",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "\\",
    "\\\"",
    "\\u12",
    "a\"b",
    "“",
    "/*",
    "//",
    "#",
    "true",
    "null",
    "```json\n",
    "```",
    "\" : \"",
    "<",
    ">",
    "<a>",
    "</a>",
    "<a></a>",
    "<a ",
    "<a b=\"",
    "&",
    "&#1;",
    "<!--",
    "<![CDATA[",
    "[[ ## a ## ]]\n",
];

/// The processor time of this thread that the target takes.
fn cost(target: Target, text: &str) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let began = now();
    target(text);
    now() - began
}

#[track_caller]
fn assert_linear(name: &str, openings: &[&str]) {
    let (_, target): (_, Target) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let mut slow = Vec::new();
    for opening in openings {
        for pattern in PATTERNS {
            let text = |bytes: usize| format!("{opening}{}", pattern.repeat(bytes / pattern.len()));
            let (short, long) = (text(SHORT), text(SHORT * LONGER));
            let growth = || {
                let long = cost(target, &long);
                (long > NEGLIGIBLE).then(|| long.div_duration_f64(cost(target, &short)))
            };
            // A machine that gives its time to others in between disturbs one measurement, but not three.
            let least = (0..3).map_while(|_| growth()).fold(f64::INFINITY, f64::min);
            if least.is_finite() && least > f64::from(MOST) {
                slow.push(format!(
                    "{opening:?} and {pattern:?}: {least:.0} times for {LONGER} times the length"
                ));
            }
        }
    }
    assert_eq!(slow, Vec::<String>::new(), "{name}");
}

#[test]
fn chat_answers_are_read_in_linear_time() {
    assert_linear("chat_answer", &["", "[[ ## tags ## ]]\n"]);
}

#[test]
fn json_answers_are_read_in_linear_time() {
    assert_linear("json_answer", &["", "{\"a\": \""]);
}

#[test]
fn xml_answers_are_read_in_linear_time() {
    assert_linear("xml_answer", &["", "<a>"]);
}

#[test]
fn python_literals_are_read_in_linear_time() {
    assert_linear("literal", &["", "[", "{'a': '"]);
}

#[test]
fn signatures_are_read_in_linear_time() {
    assert_linear("signature", &["", "a -> ", "a -> b: Literal["]);
}

#[test]
fn files_of_users_are_read_in_linear_time() {
    for name in ["job_file", "state_file", "trainset"] {
        assert_linear(name, &[""]);
    }
}
