//! Ready configurations for trainers, written beside the rows with `provider = "export"`. They depend only on the job and the data, and
//! their paths are relative to DIR's `data`.
//!
//! Each trains on answers only and accepts the longest row of the data, because trainers silently truncate or drop longer ones.

mod axolotl;
mod llama_factory;
mod train_arguments;
mod trl;
mod yaml;

pub use train_arguments::{Lora, TrainerArguments};

use crate::finetune::{DataPart, RowFormat, TrainingSpec, file_name};
use std::fmt::Write as _;
use yaml::{quoted, shell_word};

/// The input of the configurations of one LM key.
#[derive(Clone, Debug)]
pub struct Trainable {
    /// The name of the key, which prefixes its files.
    pub key: String,
    /// The settings of the training.
    pub recipe: TrainingSpec,
    /// Whether there are validation rows.
    pub has_validation: bool,
    /// The estimated token count of the longest row.
    pub longest_tokens: u64,
    /// An upper bound of its token count.
    pub room: u64,
}

/// The trainers that get a configuration for each LM key; the names occur in the file names.
const TRAINERS: [&str; 3] = ["trl", "axolotl", "llamafactory"];

/// LLaMA-Factory's list of data sets.
const DATASET_INFO: &str = "dataset_info.json";

/// Hugging Face's list of data sets in a folder, which TRL reads where there is a second file.
const DATASET_CARD: &str = "README.md";

/// Length limits are rounded up to a multiple of this, which suits accelerators.
const LENGTH_STEP: u64 = 64;

/// The files of all keys that are exported, by name.
pub fn configs(keys: &[Trainable]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for key in keys {
        let [trl, axolotl, llama_factory] = TRAINERS.map(|trainer| key.config_name(trainer));
        files.push((trl, trl::config(key)));
        files.push((axolotl, axolotl::config(key)));
        files.push((llama_factory, llama_factory::config(key)));
    }
    if !keys.is_empty() {
        files.push((DATASET_INFO.to_owned(), llama_factory::dataset_info(keys)));
    }
    if keys.iter().any(|key| key.has_validation) {
        files.push((DATASET_CARD.to_owned(), trl::dataset_card(keys)));
    }
    files
}

/// Whether a file of this name in DIR's `data` is one that [`configs`] gives.
pub fn is_config(name: &str) -> bool {
    let of_trainer = |trainer: &&str| {
        name.strip_suffix(".yaml")
            .and_then(|rest| rest.strip_suffix(*trainer))
            .is_some_and(|rest| rest.ends_with('.'))
    };
    name == DATASET_INFO || name == DATASET_CARD || TRAINERS.iter().any(of_trainer)
}

impl Trainable {
    fn config_name(&self, trainer: &str) -> String {
        format!("{}.{trainer}.yaml", self.key)
    }

    fn file(&self, part: DataPart, format: Option<RowFormat>) -> String {
        file_name(&self.key, part, format)
    }

    /// The key as a name of data sets: letters, digits, `.`, `_`, `-` and `@`, all else as `%XX`.
    fn dataset(&self, part: DataPart) -> String {
        let mut name = String::new();
        for byte in self.key.bytes() {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'_' | b'-' | b'@' => {
                    name.push(char::from(byte))
                }
                // Writing to a String cannot fail.
                _ => drop(write!(name, "%{byte:02X}")),
            }
        }
        match part {
            DataPart::Training => name,
            DataPart::Validation => format!("{name}.validation"),
        }
    }

    /// The output folder, beside DIR's `data`, which contains derived files only.
    fn output(&self, trainer: &str) -> String {
        format!("../trained/{}.{trainer}", self.key)
    }

    /// The maximum length of a row in tokens.
    fn length(&self, arguments: &TrainerArguments) -> u64 {
        let from_data = self.room.max(1).next_multiple_of(LENGTH_STEP);
        arguments.max_length.unwrap_or(from_data)
    }

    /// The comment at the head of every configuration, with the command that uses it.
    fn head(&self, trainer: &str, command: &str, install: &str, arguments: &TrainerArguments) -> String {
        let file = self.config_name(trainer);
        let mut head = format!(
            "# Every compile overwrites this file: copy it to another folder before you change it.\n\
             # Run it in the folder where it lies:\n#   {command} {}\n# Needs {install}.\n",
            shell_word(&file)
        );
        if !arguments.left_out.is_empty() {
            let keys: Vec<String> = arguments.left_out.iter().map(|key| quoted(key)).collect();
            // Writing to a String cannot fail.
            let _ = writeln!(
                head,
                "# Not taken over from the job's `train`: {}",
                keys.join(", ")
            );
        }
        head
    }

    /// The comment on the length limit.
    fn length_comment(&self, arguments: &TrainerArguments) -> String {
        match arguments.max_length {
            Some(_) => format!(
                "From the job's `train`; the longest row has about {} tokens.",
                self.longest_tokens
            ),
            None => format!(
                "No row has more tokens than this; the longest has about {}.",
                self.longest_tokens
            ),
        }
    }
}

/// The seed, reduced to the 32 bits that trainers accept.
fn seed(recipe: &TrainingSpec) -> u64 {
    recipe.seed % (1 << 32)
}

#[cfg(test)]
mod tests;
