//! Where the tests' vectors are read: rows that DSPy and what is under it have written.

use std::path::PathBuf;

/// The lines of `tests/vectors/<name>.jsonl`, or of that file in the folder that `BSFT_VECTORS` names, where it has one:
/// `tests/parity/vectors.py` writes fresh ones.
pub(crate) fn lines(name: &str) -> Vec<String> {
    let file = format!("{name}.jsonl");
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors")).join(&file);
    let path = std::env::var_os("BSFT_VECTORS")
        .map(|root| PathBuf::from(root).join(&file))
        .filter(|path| path.is_file())
        .unwrap_or_else(own);
    let text = std::fs::read_to_string(&path).expect("the vector file is in the repository");
    assert!(!text.is_empty(), "{} has no rows", path.display());
    text.lines().map(str::to_owned).collect()
}
