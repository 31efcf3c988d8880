//! The placeholders that every trainer has, beside the keys of `train`.

/// Those that always have a value.
pub(super) const ALWAYS: [&str; 15] = [
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

/// Those that may have none: there are no validation rows, nothing was begun that could be resumed.
pub(super) const SOMETIMES: [&str; 3] = ["validation_file", "validation_dir", "resume_dir"];

/// What `upload` has said, else the output folder: known when there is a result.
pub(super) const ARTEFACT: &str = "artefact";

/// Built-in placeholders whose value the job may give in `train`.
pub(super) const GIVEN_BY_TRAIN: [&str; 2] = ["seed", "max_length"];

/// Those that are known before the rows are there: what `check` can use.
pub(super) const BEFORE_ROWS: [&str; 3] = ["base_model", "config_dir", "seed"];

/// Those that are known while the rows are measured.
pub(super) fn is_known_to_measure(name: &str) -> bool {
    !["max_length", "output_dir", "result_file", "resume_dir", ARTEFACT].contains(&name)
}

/// Whether the name means something of our own.
pub(super) fn is_built_in(name: &str) -> bool {
    ALWAYS.contains(&name) || SOMETIMES.contains(&name) || name == ARTEFACT
}

/// Whether a key of `train` may be called so.
pub(super) fn is_train_key(name: &str) -> bool {
    !is_built_in(name) || GIVEN_BY_TRAIN.contains(&name)
}
