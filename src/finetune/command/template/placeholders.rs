//! The placeholders that bsft defines for every trainer, beside the keys of `train`.

/// Placeholders that always have a value.
pub(crate) const ALWAYS: [&str; 15] = [
    "base_model",
    "train_file",
    "train_dir",
    "output_dir",
    "work_dir",
    "config_dir",
    "hyperparams_file",
    "progress_file",
    "result_file",
    "measure_script",
    "seed",
    "key",
    "name",
    "max_length",
    "rows",
];

/// Placeholders without a value when there are no validation rows or no checkpoint.
pub(crate) const SOMETIMES: [&str; 3] = ["validation_file", "validation_dir", "resume_dir"];

/// The location that `upload` printed, or the output folder. Set once there is a result.
pub(crate) const ARTEFACT: &str = "artefact";

/// Built-in placeholders that a job may set in `train`.
pub(crate) const GIVEN_BY_TRAIN: [&str; 2] = ["seed", "max_length"];

/// Placeholders that `check` may use: their values do not depend on the rows.
pub(crate) const BEFORE_ROWS: [&str; 3] = ["base_model", "config_dir", "seed"];

/// Whether `measure` may use the placeholder.
pub(crate) fn is_known_to_measure(name: &str) -> bool {
    !["max_length", "output_dir", "result_file", "resume_dir", ARTEFACT].contains(&name)
}

/// Whether bsft defines the placeholder.
pub(crate) fn is_built_in(name: &str) -> bool {
    ALWAYS.contains(&name) || SOMETIMES.contains(&name) || name == ARTEFACT
}

/// Whether `name` may be a key of `train`.
pub(crate) fn is_train_key(name: &str) -> bool {
    !is_built_in(name) || GIVEN_BY_TRAIN.contains(&name)
}
