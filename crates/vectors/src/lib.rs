//! Reads the test vectors: rows that DSPy and the Python packages below it wrote into `tests/vectors`.

use std::path::PathBuf;

/// The lines of `tests/vectors/<name>.jsonl`.
///
/// If the folder that `BSFT_VECTORS` names has a file of that name, its lines are returned instead:
/// `tests/parity/vectors.py` writes fresh ones.
///
/// # Panics
///
/// If the file is missing or empty.
pub fn lines(name: &str) -> Vec<String> {
    let file = format!("{name}.jsonl");
    let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors")).join(&file);
    let path = std::env::var_os("BSFT_VECTORS")
        .map(|root| PathBuf::from(root).join(&file))
        .filter(|path| path.is_file())
        .unwrap_or_else(own);
    let text = std::fs::read_to_string(&path).expect("the vector file is in the repository");
    assert!(!text.is_empty(), "{} has no rows", path.display());
    text.lines().map(str::to_owned).collect()
}
