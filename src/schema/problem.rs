//! Problems of a job file or a data file: the place, what is wrong, and what to write instead.

use std::fmt;
use std::path::{Path, PathBuf};

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The path of the file.
    pub file: PathBuf,
    /// The line in that file, counted from 1. `None` for the whole file.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to write or do instead.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}\n  = help: {}", self.message, self.remedy)
    }
}

/// All problems of a file, collected in one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub fn add(
        &mut self,
        file: &Path,
        line: Option<u32>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (message, remedy) = (message.into(), remedy.into());
        self.0.push(Problem {
            file: file.to_owned(),
            line,
            message,
            remedy,
        });
    }

    /// Whether there are no problems.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns `value` if there are no problems, otherwise all problems by file and line.
    pub(crate) fn or<T>(mut self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => {
                // Problems of a whole file come after those of its lines.
                self.0
                    .sort_by_key(|p| (p.file.clone(), p.line.unwrap_or(u32::MAX)));
                self.0.dedup();
                Err(self)
            }
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort();
        for problem in &sorted {
            writeln!(f, "{problem}")?;
        }
        match sorted.len() {
            1 => write!(f, "1 problem"),
            n => write!(f, "{n} problems"),
        }
    }
}

impl std::error::Error for Problems {}
