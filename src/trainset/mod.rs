//! The examples of a file: one pass checks every row, then rows are read by offset.
//!
//! Only 24 bytes per row stay in memory, so a million rows cost 24 MB whatever their length.

mod csv;
mod csv_record;
mod foreign_file;
mod json;
mod jsonl;
mod row_scanner;

use crate::hex::hex;
use crate::python::json::write_compact;
use crate::schema::Problems;
use crate::value::{Record, Value};
use foreign_file::ForeignFile;
use row_scanner::{HashingReader, RowScanner};
use std::fs::{File, Metadata};
use std::io::{self, BufRead as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The longest row in bytes, as the JSON that a task has: a message of a worker's queue has little more than that.
pub const LONGEST_ROW: usize = 15 << 20;

/// A checked file of examples.
#[derive(Debug)]
pub struct Trainset {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    format: Format,
    /// The start of each row, and the end of the last one.
    offsets: Vec<u64>,
    digests: Vec<u64>,
    label_digests: Vec<u64>,
    labels: Vec<String>,
    /// Columns that are missing in some row, each with the first such line.
    gaps: Vec<(String, u32)>,
    lacking: Vec<Option<(u32, usize)>>,
    long_fields: Option<LongFields>,
    /// The line of the first row.
    first_line: u32,
    inputs: Vec<String>,
    sha256: String,
}

/// The format of the rows.
#[derive(Clone, Debug)]
enum Format {
    Jsonl,
    Json,
    /// The header's columns.
    Csv(Vec<String>),
}

/// Fields on so many lines that a stray quote may have made one of several rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongFields {
    /// The line on which the first of them begins.
    pub line: u32,
    /// The number of its lines.
    pub lines: u32,
    /// How many there are.
    pub count: usize,
}

/// Identifies the file that was checked.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    fn new(metadata: &Metadata) -> Stamp {
        Stamp {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

/// Why an example cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TrainsetError {
    /// There is no such row.
    #[error("{} has {len} rows, no row {index}", path.display())]
    OutOfRange {
        /// The file.
        path: PathBuf,
        /// The requested row, from 0.
        index: usize,
        /// The number of rows.
        len: usize,
    },
    /// The file has changed since it was checked.
    #[error("{} was changed while the job ran; run the job again, which checks it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
}

impl Trainset {
    /// Checks the first `limit` rows of a `.jsonl`, `.json` or `.csv` file: each is an object with some of the `inputs`, and each
    /// of the `inputs` is in some row.
    ///
    /// At most 20 bad rows are reported one by one.
    pub fn open(path: &Path, limit: Option<u64>, inputs: &[String]) -> Result<Trainset, Problems> {
        let mut problems = Problems::default();
        let set = Trainset::check(path, limit, inputs, &mut problems);
        problems.or(set)
    }

    fn check(
        path: &Path,
        limit: Option<u64>,
        inputs: &[String],
        problems: &mut Problems,
    ) -> Option<Trainset> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let mut scanner = RowScanner::new(path, limit.unwrap_or(u64::MAX), inputs, problems);
        let scan = match extension.as_str() {
            "jsonl" | "ndjson" => jsonl::scan,
            "json" => json::scan,
            "csv" => csv::scan,
            _ => {
                match ForeignFile::by_extension(&extension) {
                    Some(kind) => refuse(kind, &mut scanner),
                    None => scanner.refuse(
                        "the file extension is unknown",
                        "give a file whose name ends in .jsonl, .json or .csv",
                    ),
                }
                return None;
            }
        };
        let mut read = || {
            let mut source = HashingReader::open(path)?;
            let stamp = Stamp::new(&source.metadata()?);
            let format = match ForeignFile::by_content(source.fill_buf()?) {
                Some(kind) => {
                    refuse(kind, &mut scanner);
                    None
                }
                None => scan(&mut source, &mut scanner)?,
            };
            let (file, sha) = source.finish()?;
            let same = Stamp::new(&file.metadata()?) == stamp;
            io::Result::Ok((file, sha, stamp, format, same))
        };
        let outcome = read();
        let found = scanner.finish();
        match outcome {
            Err(error) => {
                let message = format!("the file cannot be read: {error}");
                problems.add(path, None, message, "give the path of a readable file");
                None
            }
            Ok((.., false)) => {
                problems.add(
                    path,
                    None,
                    "the file changed while it was read",
                    "check it again when it is complete",
                );
                None
            }
            Ok((file, sha, stamp, format, true)) => Some(Trainset {
                path: path.to_owned(),
                file,
                stamp,
                format: format?,
                labels: found.labels(inputs),
                offsets: found.offsets,
                digests: found.digests,
                label_digests: found.label_digests,
                gaps: found.gaps,
                lacking: found.lacking,
                long_fields: found.long_fields,
                first_line: found.first_line,
                inputs: inputs.to_vec(),
                sha256: hex(&sha),
            }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Example `index`, from 0: one positioned read, from any thread.
    pub fn example(&self, index: usize) -> Result<Record, TrainsetError> {
        let bytes = self.bytes(index)?;
        let row = match &self.format {
            Format::Jsonl | Format::Json => json_row(&bytes),
            Format::Csv(columns) => csv::row(columns, &bytes),
        };
        // The row was readable when it was checked.
        row.ok_or_else(|| TrainsetError::Changed {
            path: self.path.clone(),
        })
    }

    fn bytes(&self, index: usize) -> Result<Vec<u8>, TrainsetError> {
        let path = || self.path.clone();
        let (Some(&start), Some(&end)) = (self.offsets.get(index), self.offsets.get(index + 1)) else {
            return Err(TrainsetError::OutOfRange {
                path: path(),
                index,
                len: self.len(),
            });
        };
        let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(usize::MAX)];
        let metadata = self
            .file
            .metadata()
            .map_err(|source| TrainsetError::Io { path: path(), source })?;
        if Stamp::new(&metadata) != self.stamp {
            return Err(TrainsetError::Changed { path: path() });
        }
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(|source| TrainsetError::Io { path: path(), source })?;
        Ok(bytes)
    }

    /// The bytes of a row in its file. A task has about as many.
    pub fn row_len(&self, index: usize) -> usize {
        match (self.offsets.get(index), self.offsets.get(index + 1)) {
            (Some(start), Some(end)) => usize::try_from(end - start).unwrap_or(usize::MAX),
            _ => 0,
        }
    }

    /// The digest of a row's inputs. It is the same in every run and for every file format.
    pub fn row_digest(&self, index: usize) -> Option<u64> {
        self.digests.get(index).copied()
    }

    /// The digest of a row's labels.
    pub fn label_digest(&self, index: usize) -> Option<u64> {
        self.label_digests.get(index).copied()
    }

    /// Example `index` as a JSON object for a worker, with the original bytes if the file is JSON.
    pub fn json(&self, index: usize) -> Result<String, TrainsetError> {
        let bytes = self.bytes(index)?;
        let changed = || TrainsetError::Changed {
            path: self.path.clone(),
        };
        match &self.format {
            // Commas and white space between rows are not part of a row.
            Format::Jsonl | Format::Json => {
                let text = String::from_utf8(bytes).map_err(|_| changed())?;
                let start = text.find('{').ok_or_else(changed)?;
                let end = text.rfind('}').ok_or_else(changed)?;
                text.get(start..=end).map(str::to_owned).ok_or_else(changed)
            }
            Format::Csv(columns) => {
                let row = csv::row(columns, &bytes).ok_or_else(changed)?;
                let items = row
                    .into_iter()
                    .map(|(name, value)| (Value::Str(name), value))
                    .collect();
                let mut out = String::new();
                write_compact(&Value::Dict(items), &mut out);
                Ok(out)
            }
        }
    }

    /// Hex SHA-256 of the whole file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The columns that every row has and that are not inputs.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The input columns that some rows lack, with the first such line and how many they are. Programs run without what is
    /// missing, as in DSPy.
    pub fn without_input(&self) -> impl Iterator<Item = (&str, u32, usize)> {
        let lacking = self.inputs.iter().zip(&self.lacking);
        lacking.filter_map(|(column, lacking)| lacking.map(|(line, rows)| (column.as_str(), line, rows)))
    }

    /// The fields that may hold rows which a stray quote swallowed.
    pub fn long_fields(&self) -> Option<LongFields> {
        self.long_fields
    }

    /// The line of the first row without `column`. `None` if every row has it.
    pub fn first_without(&self, column: &str) -> Option<u32> {
        let is_input = self.inputs.iter().any(|c| c == column);
        if let Some((_, line, _)) = self.without_input().find(|(name, ..)| *name == column) {
            return Some(line);
        }
        let everywhere = self.is_empty() || is_input || self.labels.iter().any(|c| c == column);
        let gap = self.gaps.iter().find(|(name, _)| name == column);
        (!everywhere).then(|| gap.map_or(self.first_line, |(_, line)| *line))
    }
}

fn refuse(kind: ForeignFile, scanner: &mut RowScanner<'_>) {
    scanner.refuse(format!("this is {}", kind.what), kind.remedy);
}

fn json_row(bytes: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(bytes).ok()?.trim_start();
    let (value, _) = crate::python::json::parse_prefix(text).ok()?;
    let Value::Dict(pairs) = value else { return None };
    let named = |(key, value)| match key {
        Value::Str(key) => Some((key, value)),
        _ => None,
    };
    Some(pairs.into_iter().filter_map(named).collect())
}

#[cfg(test)]
mod tests;
