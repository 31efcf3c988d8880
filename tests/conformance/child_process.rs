//! Runs tests of this binary in a child process with another environment.

use std::path::Path;
use std::process::Command;

/// Names that the cases have as tests of one implementation.
macro_rules! tests_of {
    ($module:literal: $($case:ident)+) => { [$(concat!($module, "::", stringify!($case))),+] };
}
pub(crate) use tests_of;

/// A process of this binary.
pub(crate) struct InAChild {
    command: Command,
}

impl InAChild {
    pub(crate) fn new() -> InAChild {
        InAChild {
            command: Command::new(std::env::current_exe().unwrap()),
        }
    }

    /// Which trusts this authority and no other.
    pub(crate) fn trusting(self, authority: &Path) -> InAChild {
        self.with("SSL_CERT_FILE", authority.to_str().unwrap())
    }

    /// With that in its environment.
    pub(crate) fn with(mut self, variable: &str, value: &str) -> InAChild {
        self.command.env(variable, value);
        self
    }

    /// Runs these tests; every one of them has to pass. Gives what they printed.
    pub(crate) fn pass(mut self, tests: &[&str]) -> String {
        let output = self
            .command
            .args(["--exact", "--nocapture"])
            .args(tests)
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let passed = format!("test result: ok. {} passed; 0 failed", tests.len());
        assert!(
            output.status.success() && printed.contains(&passed),
            "{printed}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }
}
